//! Who the client is, and whether it still is: a login may claim its name at any time.

use super::{Session, Stop};
use crate::name::Name;
use crate::server::who_may::{Denied, Standing};
use crate::wire::session::{Code, Line, VERSION};

impl Session<'_, '_> {
    pub(super) fn hello(&mut self, name: Option<Name>) -> Result<(), Stop> {
        let name = name.or_else(|| self.talk.standing.login().cloned());
        let may = match &name {
            Some(name) => self.talk.may_be(name),
            None => Ok(self.talk.standing.may_come()),
        };
        match may {
            Ok(Ok(())) => {}
            Ok(Err(denied)) => {
                self.name = name;
                self.deny(&denied);
                return Err(Stop::Over);
            }
            Err(e) => {
                self.fail("hello", &e);
                return Err(Stop::Over);
            }
        }
        self.greeted = true;
        let mut line = Line::begin(&mut self.out, "OK").word(VERSION);
        if let Some(name) = &name {
            line = line.field("name", name);
        }
        line.field("trust", self.talk.standing.trust())
            .field("max-body", self.talk.config.max_body)
            .field("lease", self.talk.config.lease.as_secs())
            .end();
        self.name = name;
        self.talk.ticket.proved();
        self.doing("session");
        Ok(())
    }

    /// The name of the session, which the request acts as; without one, or when it is another's by now, the client
    /// is told.
    pub(super) fn named(&mut self) -> Option<Name> {
        let Some(name) = self.name.clone() else {
            self.anonymous();
            return None;
        };
        self.keeps(&name).then_some(name)
    }

    /// Whether the session may go on as `name`. If not, the client is told, and has nothing leased any more.
    pub(super) fn keeps(&mut self, name: &Name) -> bool {
        match self.talk.may_still_be(name) {
            Ok(Ok(())) => true,
            Ok(Err(denied)) => {
                self.handed = None;
                self.deny(&denied);
                false
            }
            Err(e) => {
                self.fail("who may", &e);
                false
            }
        }
    }

    /// Ends what the session holds if the name is another's by now: its lease, so that whoever has the name can
    /// read; and its watch, and with that the session.
    pub(super) fn let_go(&mut self, name: &Name) -> Result<(), Stop> {
        if self.watch.is_none() {
            self.drop_lost_lease();
        } else if !self.keeps(name) {
            self.watch = None;
            return Err(Stop::Over);
        }
        Ok(())
    }

    /// Drops the lease of a session that may not go on. Whatever it asks for next, it is told.
    pub(super) fn drop_lost_lease(&mut self) {
        let (Some(name), true) = (&self.name, self.handed.is_some()) else {
            return;
        };
        if !matches!(self.talk.may_still_be(name), Ok(Ok(()))) {
            self.handed = None;
        }
    }

    /// Whether a lease is held that a login could want, and no bell tells of that.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.handed.is_some() && self.watch.is_none() && self.talk.standing == Standing::Open
    }

    /// Tells why not, and notes it for the log.
    pub(super) fn deny(&mut self, denied: &Denied) {
        self.denied = Some(denied.to_string());
        self.error(Code::Denied, denied);
    }

    pub(super) fn anonymous(&mut self) {
        self.error(Code::Name, "say who you are: HELLO dropline/1 name=NAME");
    }

    /// Whose session it is, for the log and for whoever looks.
    pub(super) fn whose(&self) -> String {
        let name = self.name.as_ref();
        name.map_or("nobody".into(), |name| self.talk.marked(name))
    }
}
