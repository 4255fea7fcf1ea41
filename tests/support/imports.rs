//! Finds which file imports which item of which other file, from `use` declarations and from paths in the code.
//!
//! A re-export (`pub use`) is an alias: a file that imports the name depends on the file that defines the item. The
//! file with the re-export depends on it only if its own code uses the name. `#[cfg(test)]` code may close a cycle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter::Peekable;

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// A path of modules and an item, from the crate root.
type ItemPath = Vec<String>;

/// A path as written in a source.
struct Mention {
    module: ItemPath,
    path: ItemPath,
    is_test: bool,
}

/// A module: a file, or a block in one.
#[derive(Default)]
struct Module {
    file: String,
    /// The names that `use` declares, each with its path as written, and whether the `use` is public.
    names: BTreeMap<String, (ItemPath, bool)>,
}

/// The imports of a set of sources.
#[derive(Default)]
pub(crate) struct Imports {
    modules: BTreeMap<ItemPath, Module>,
    /// The modules that are compiled for tests only. Modules below them are test modules as well.
    tests: BTreeSet<ItemPath>,
    mentions: Vec<Mention>,
}

impl Imports {
    /// Reads sources, given as pairs of a path below `src` and the text.
    pub(crate) fn read(sources: &[(String, String)]) -> Self {
        let mut imports = Self::default();
        for (file, source) in sources {
            let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
            let module: ItemPath = match path {
                "lib" => Vec::new(),
                path => path.split('/').map(str::to_owned).collect(),
            };
            let tokens = source.parse().expect("Rust");
            imports.read_module(file, &module, tokens, false);
        }
        imports
    }

    fn read_module(&mut self, file: &str, path: &[String], tokens: TokenStream, is_test: bool) {
        let module = self.modules.entry(path.to_vec()).or_default();
        file.clone_into(&mut module.file);
        let mut tokens = tokens.into_iter().peekable();
        self.read_items(file, path, &mut tokens, is_test);
    }

    fn read_items(
        &mut self,
        file: &str,
        module: &[String],
        tokens: &mut Peekable<impl Iterator<Item = TokenTree>>,
        is_test: bool,
    ) {
        let (mut of_test, mut is_public) = (false, false);
        let mut path: ItemPath = Vec::new();
        // The preceding token: `.` before a field or a method, `:` inside a path, `p` for `pub`, `;` and `/` for the
        // first character of `::` and `..`.
        let mut before = ' ';
        while let Some(token) = tokens.next() {
            let in_test = is_test || of_test;
            match token {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    let next = tokens.peek().map(ToString::to_string).unwrap_or_default();
                    match word.as_str() {
                        "pub" => {
                            is_public = true;
                            before = 'p';
                            continue;
                        }
                        "use" if next != "<" => {
                            for (name, path) in use_tree(&[], tokens) {
                                self.add_use(module, &name, path, is_public, in_test);
                            }
                            (of_test, is_public) = (false, false);
                        }
                        "mod" => {
                            let name = tokens.next().map(|t| t.to_string()).unwrap_or_default();
                            let path = [module, &[name]].concat();
                            match tokens.next() {
                                Some(TokenTree::Group(block)) => {
                                    self.read_module(file, &path, block.stream(), in_test);
                                }
                                _ if in_test => drop(self.tests.insert(path)),
                                _ => {}
                            }
                            (of_test, is_public) = (false, false);
                        }
                        _ if before == '.' => {}
                        _ => {
                            if before != ':' && !path.is_empty() {
                                // The path ended with generic arguments: `a::b::<C>`.
                                self.add_path(module, std::mem::take(&mut path), true, in_test);
                            }
                            path.push(word);
                            if !follows_path(tokens) {
                                let is_call = next.starts_with('(');
                                self.add_path(module, std::mem::take(&mut path), is_call, in_test);
                            }
                        }
                    }
                    before = ' ';
                }
                TokenTree::Punct(mark) => {
                    before = match (mark.as_char(), before) {
                        (':', ';') => ':',
                        (':', _) if mark.spacing() == Spacing::Joint => ';',
                        // Two dots are a range.
                        ('.', '/') => ' ',
                        ('.', _) if mark.spacing() == Spacing::Joint => '/',
                        ('.', _) => '.',
                        _ => ' ',
                    };
                    if mark.as_char() == ';' {
                        (of_test, is_public) = (false, false);
                    }
                }
                TokenTree::Group(group) => {
                    let delimiter = group.delimiter();
                    let mut inner = group.stream().into_iter().peekable();
                    if delimiter == Delimiter::Bracket && is_cfg_test(&group) {
                        of_test = true;
                    } else if before != 'p' {
                        self.read_items(file, module, &mut inner, in_test);
                    }
                    if delimiter == Delimiter::Brace {
                        (of_test, is_public) = (false, false);
                    }
                    before = ' ';
                }
                TokenTree::Literal(_) => before = ' ',
            }
        }
    }

    fn add_use(
        &mut self,
        module: &[String],
        name: &str,
        path: ItemPath,
        is_public: bool,
        is_test: bool,
    ) {
        if let Some(this) = self.modules.get_mut(module) {
            this.names
                .insert(name.to_owned(), (path.clone(), is_public));
        }
        if !is_public {
            self.add_mention(module, path, is_test);
        }
    }

    /// Adds a path outside of `use`. A single identifier is an import only if a `use` declares the name, which is
    /// resolved after all sources are read.
    fn add_path(&mut self, module: &[String], path: ItemPath, is_call: bool, is_test: bool) {
        let is_type = path[0].starts_with(char::is_uppercase);
        if path.len() > 1 || is_type || is_call {
            self.add_mention(module, path, is_test);
        }
    }

    fn add_mention(&mut self, module: &[String], path: ItemPath, is_test: bool) {
        self.mentions.push(Mention {
            module: module.to_vec(),
            path,
            is_test,
        });
    }

    /// Resolves a path in `module` to a path from the crate root. `None` if it is local or of another crate.
    fn absolute(&self, module: &[String], path: &[String], depth: usize) -> Option<ItemPath> {
        let (first, rest) = path.split_first()?;
        let parent = || module.split_last().map(|(_, parent)| parent.to_vec());
        let base = match first.as_str() {
            "crate" => Vec::new(),
            "self" if !rest.is_empty() => module.to_vec(),
            "super" => {
                let mut base = parent()?;
                let supers = rest.iter().take_while(|word| *word == "super").count();
                base.truncate(base.len().checked_sub(supers)?);
                return Some([&base[..], &rest[supers..]].concat());
            }
            name => {
                let child = [module, &[name.to_owned()]].concat();
                if self.modules.contains_key(&child) && !rest.is_empty() {
                    return Some([&child[..], rest].concat());
                }
                let (alias, _) = self.modules.get(module)?.names.get(name)?;
                if depth == 0 || alias.first().is_some_and(|word| word == name) {
                    return None;
                }
                let alias = self.absolute(module, alias, depth - 1)?;
                return Some([&alias[..], rest].concat());
            }
        };
        Some([&base[..], rest].concat())
    }

    /// Returns the file that defines the item of an absolute path, and the item's name. `None` for a module.
    fn file_of(&self, path: &[String], depth: usize) -> Option<(String, String)> {
        let mut module: ItemPath = Vec::new();
        for (at, name) in path.iter().enumerate() {
            let child = [&module[..], std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let this = self.modules.get(&module)?;
            if let Some((alias, true)) = this.names.get(name)
                && depth > 0
                && let Some(alias) = self.absolute(&module, alias, depth)
            {
                let target = [&alias[..], &path[at + 1..]].concat();
                return self.file_of(&target, depth - 1);
            }
            return Some((this.file.clone(), name.clone()));
        }
        None
    }

    /// Returns the absolute paths that each file mentions, test code included, without the leading `crate::`.
    pub(crate) fn paths(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mentioned = self.mentions.iter().map(|m| (&m.module, &m.path));
        let exported = self.modules.iter().flat_map(|(module, this)| {
            let paths = this.names.values().map(|(path, _)| path);
            paths.map(move |path| (module, path))
        });
        let mut paths: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
        for (module, path) in mentioned.chain(exported) {
            let of_file = paths.entry(&self.modules[module].file).or_default();
            of_file.extend(
                self.absolute(module, path, DEPTH)
                    .map(|path| path.join("::")),
            );
        }
        paths
    }

    /// Returns the names that each file imports from each other file. Test code is left out.
    pub(crate) fn edges(&self) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
        let mut edges: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        let is_test = |mention: &&Mention| {
            let mut above = (0..=mention.module.len()).map(|len| &mention.module[..len]);
            mention.is_test || above.any(|module| self.tests.contains(module))
        };
        for mention in self.mentions.iter().filter(|mention| !is_test(mention)) {
            let from = &self.modules[&mention.module].file;
            let target = self.absolute(&mention.module, &mention.path, DEPTH);
            if let Some((to, name)) = target.and_then(|path| self.file_of(&path, DEPTH))
                && to != *from
            {
                let edge = edges.entry(from.clone()).or_default();
                edge.entry(to).or_default().insert(name);
            }
        }
        edges
    }

    /// Returns the import cycles: the shortest one of each file, without duplicates. A cycle is printed as a path with
    /// the names that each file imports from the next.
    pub(crate) fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let circles = edges.keys().filter_map(|start| circle(&edges, start));
        let mut found: BTreeMap<Vec<String>, String> = BTreeMap::new();
        for circle in circles {
            let mut files = circle.clone();
            files.sort();
            let mut told = format!("{} files: {}", circle.len(), circle[0]);
            for (at, from) in circle.iter().enumerate() {
                let to = &circle[(at + 1) % circle.len()];
                let names: Vec<_> = edges[from][to].iter().map(String::as_str).collect();
                told.push_str(&format!(" -({})-> {to}", names.join(", ")));
            }
            found.entry(files).or_insert(told);
        }
        found.into_values().collect()
    }
}

/// Limits the length of a chain of aliases.
const DEPTH: usize = 8;

/// Returns the shortest cycle through `start`.
fn circle(
    edges: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    start: &str,
) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut circle = vec![file.to_owned()];
                while let Some(before) = circle.last().filter(|last| *last != start) {
                    circle.push(came_from[before.as_str()].to_owned());
                }
                circle.reverse();
                return Some(circle);
            }
            if !came_from.contains_key(next.as_str()) {
                came_from.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Returns whether this is the bracketed group of `#[cfg(test)]`.
fn is_cfg_test(group: &Group) -> bool {
    let tokens: Vec<_> = group.stream().into_iter().take(3).collect();
    let [TokenTree::Ident(word), TokenTree::Group(what)] = &tokens[..] else {
        return false;
    };
    word == "cfg" && what.stream().to_string() == "test"
}

/// Returns whether the path continues with `::`.
fn follows_path(tokens: &mut Peekable<impl Iterator<Item = TokenTree>>) -> bool {
    matches!(tokens.peek(), Some(TokenTree::Punct(mark))
        if mark.as_char() == ':' && mark.spacing() == Spacing::Joint)
}

/// Returns the names that a `use` tree declares, with their paths. Reads up to the `;` or the end of a group.
fn use_tree(
    above: &[String],
    tokens: &mut Peekable<impl Iterator<Item = TokenTree>>,
) -> Vec<(String, ItemPath)> {
    let mut found = Vec::new();
    let (mut path, mut name) = (above.to_vec(), None);
    let mut is_alias = false;
    let end = |path: &mut ItemPath, name: &mut Option<String>, found: &mut Vec<_>| {
        if let Some(name) = name.take() {
            found.push((name, std::mem::replace(path, above.to_vec())));
        }
        above.clone_into(path);
    };
    for token in tokens.by_ref() {
        match token {
            TokenTree::Ident(word) if word == "as" => is_alias = true,
            TokenTree::Ident(word) if is_alias => {
                name = Some(word.to_string());
                is_alias = false;
            }
            // `a::{self, b}` declares `a`.
            TokenTree::Ident(word) if word == "self" && !path.is_empty() => {
                name = path.last().cloned();
            }
            TokenTree::Ident(word) => {
                name = Some(word.to_string());
                path.push(word.to_string());
            }
            TokenTree::Punct(mark) => match mark.as_char() {
                ';' => break,
                ',' => end(&mut path, &mut name, &mut found),
                '*' => {
                    path.push("*".into());
                    name = Some("*".into());
                }
                _ => {}
            },
            TokenTree::Group(group) => {
                found.extend(use_tree(&path, &mut group.stream().into_iter().peekable()));
                name = None;
            }
            TokenTree::Literal(_) => {}
        }
    }
    end(&mut path, &mut name, &mut found);
    found
}
