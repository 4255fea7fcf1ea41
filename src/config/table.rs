//! Generates the types of the configuration from the table of keys.

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// When the daemon is restarted.
    Restart,
    /// When the daemon reloads its configuration, for new connections.
    Reload,
}

/// A section of the table.
#[cfg(test)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) keys: Vec<Key>,
}

/// A key of the table.
#[cfg(test)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The manual: paragraphs, with names and values in backticks.
    pub(super) text: &'static str,
    /// The default, in the syntax of Rust.
    pub(super) default: String,
    pub(super) range: Option<(u64, u64)>,
    /// An example, for a list of tables.
    pub(super) example: Option<&'static str>,
    pub(super) when: When,
}

/// Generates [`DEFAULTS`](super::keys::DEFAULTS), [`ConfigFile`](super::keys::ConfigFile),
/// [`Config`](super::keys::Config) and the text of the manual from the table.
macro_rules! keys {
    ($(
        $(#[doc = $intro:literal])*
        $title:literal {$(
            $(#[doc = $text:literal])*
            $key:ident: $kind:ty = $default:expr, $when:ident;
        )*}
    )*) => {
        use super::values::Kind;

        /// The type of [`DEFAULTS`].
        #[derive(Debug)]
        pub(crate) struct Defaults {$($(
            pub(crate) $key: <$kind as Kind>::Literal,
        )*)*}

        /// The default of each key.
        pub(crate) const DEFAULTS: Defaults = Defaults {$($( $key: $default, )*)*};

        /// A configuration file: the keys that it sets, each with its position.
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct ConfigFile {$($(
            pub(crate) $key: Option<toml::Spanned<$kind>>,
        )*)*}

        impl ConfigFile {
            /// Returns the settings of the file, with the defaults for all other keys.
            pub(crate) fn settings(&self) -> Config {
                Config {$($(
                    $key: self.$key.as_ref().map_or_else(
                        || <$kind as Kind>::of(DEFAULTS.$key),
                        |value| value.as_ref().value(),
                    ),
                )*)*}
            }
        }

        /// All settings of the daemon.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct Config {$($(
            $(#[doc = $text])*
            pub(crate) $key: <$kind as Kind>::Value,
        )*)*}

        impl Config {
            /// Reverts the settings that cannot change without a restart to those of `before`. Returns the keys that
            /// differed.
            pub(crate) fn keep_what_needs_a_restart(&mut self, before: &Self) -> Vec<&'static str> {
                use super::table::When;
                let mut changed = Vec::new();
                $($(
                    if When::$when == When::Restart && self.$key != before.$key {
                        self.$key.clone_from(&before.$key);
                        changed.push(stringify!($key));
                    }
                )*)*
                changed
            }
        }

        /// Returns the table as text, for the manual.
        #[cfg(test)]
        pub(super) fn sections() -> Vec<super::table::Section> {
            use super::table::{Key, Section};
            vec![$(
                Section {
                    title: $title,
                    text: concat!($($intro, "\n",)*),
                    keys: vec![$(
                        Key {
                            name: stringify!($key),
                            text: concat!($($text, "\n",)*),
                            default: format!("{:?}", DEFAULTS.$key),
                            range: <$kind as Kind>::RANGE,
                            example: <$kind as Kind>::EXAMPLE,
                            when: super::table::When::$when,
                        },
                    )*],
                },
            )*]
        }
    };
}

pub(super) use keys;
