//! Puts values in the place of placeholders, so that no value becomes a piece of the program.
//!
//! The original pasted them in as they were: whoever may name a host, write an alias or a description could run commands as
//! orchestrator. Here a value stands in the script only if all its characters are harmless ([`is_harmless`]: letters,
//! digits, `_.:,/@%+=-`), which host names, ports, codes and lists of servers are. Any other value becomes a reference to
//! the environment variable that holds it, in the quotes that its place needs, and shells read no commands in what a
//! variable expands to:
//!
//! | The placeholder stands | Becomes |
//! |---|---|
//! | in no quotes | `"${ORC_X}"` |
//! | in double quotes, in a here-document | `${ORC_X}` |
//! | in single quotes | `'"${ORC_X}"'` |
//! | where the shell expands nothing or too much: comments, `<<'EOF'`, arithmetic | the value, every other character as `_` |
//!
//! To know where a placeholder stands, the script is read as a shell reads it. A shell's grammar is larger than this
//! reader; what it takes for another place than it is gets the wrong quotes, and is still not executed: no character that is
//! neither harmless nor a blank ever comes from a value (a property test says so). `${failedHost}` is a variable of the user's, and is
//! left alone.

use super::facts::Value;

/// Where in the script we are; the innermost is last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Commands: the script itself, and `$(...)` with the parentheses open in it.
    Commands {
        within: Within,
    },
    Single,
    Double,
    /// `$'...'`
    Escaped,
    /// `${...}`: within double quotes a `'` is a character like any other.
    Expansion {
        quoted: bool,
    },
    /// `((...))`, `$((...))`: parentheses still open.
    Arithmetic {
        open: usize,
    },
    Comment,
    Document(Document),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Script,
    Parentheses { open: usize },
    Backticks,
}

/// `<<word`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Document {
    delimiter: String,
    /// Some of the delimiter is quoted: nothing is expanded in the text.
    verbatim: bool,
    /// `<<-`: tabs at the beginning of lines do not count.
    indented: bool,
}

/// The script with values for placeholders; those without a value stay as they are.
pub(super) fn fill(script: &str, values: &[Value]) -> String {
    let mut reader = Reader {
        rest: script,
        out: String::with_capacity(script.len() + 256),
        places: vec![Place::Commands { within: Within::Script }],
        announced: Vec::new(),
    };
    while !reader.rest.is_empty() {
        match find(reader.rest, values) {
            Some((length, value)) if !reader.out.ends_with('$') => reader.insert(length, value),
            _ => reader.step(),
        }
    }
    reader.out
}

/// The value whose placeholder the text begins with, and the length of that.
fn find<'a>(text: &str, values: &'a [Value]) -> Option<(usize, &'a Value)> {
    let text = text.strip_prefix('{')?;
    let stands = |name: &&&str| text.strip_prefix(**name).is_some_and(|rest| rest.starts_with('}'));
    values.iter().find_map(|value| Some((value.placeholders.iter().find(stands)?.len() + 2, value)))
}

/// No shell takes any of these for more than a letter, wherever they stand.
fn is_harmless(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.:,/@%+=-".contains(c)
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    places: Vec<Place>,
    /// Here-documents that begin with the next line.
    announced: Vec<Document>,
}

impl<'a> Reader<'a> {
    fn insert(&mut self, placeholder: usize, value: &Value) {
        self.rest = &self.rest[placeholder..];
        if value.text.chars().all(is_harmless) {
            self.out.push_str(&value.text);
            return;
        }
        let name = value.name;
        let text = match self.place() {
            Place::Commands { .. } | Place::Expansion { quoted: false } => format!("\"${{{name}}}\""),
            Place::Double | Place::Expansion { quoted: true } => format!("${{{name}}}"),
            Place::Document(document) if !document.verbatim => format!("${{{name}}}"),
            Place::Single => format!("'\"${{{name}}}\"'"),
            Place::Escaped => format!("'\"${{{name}}}\"$'"),
            Place::Comment | Place::Document(_) | Place::Arithmetic { .. } => {
                value.text.chars().map(|c| if is_harmless(c) || c == ' ' { c } else { '_' }).collect()
            }
        };
        self.out.push_str(&text);
    }

    /// There always is one: the script's own is never left.
    fn place(&self) -> Place {
        self.places.last().cloned().unwrap_or(Place::Commands { within: Within::Script })
    }

    /// Reads on by what belongs together.
    fn step(&mut self) {
        match self.place() {
            Place::Single => self.read_single(),
            Place::Escaped => self.read_escaped(),
            Place::Double => self.read_double(),
            Place::Comment => self.read_comment(),
            Place::Document(document) => self.read_document(&document),
            Place::Arithmetic { open } => self.read_arithmetic(open),
            Place::Expansion { quoted } => self.read_expansion(quoted),
            Place::Commands { within } => self.read_commands(within),
        }
    }

    fn read_single(&mut self) {
        if self.take(1) == "'" {
            self.leave();
        }
    }

    fn read_escaped(&mut self) {
        match self.take(1) {
            "\\" => self.skip(),
            "'" => self.leave(),
            _ => {}
        }
    }

    fn read_double(&mut self) {
        if self.expansion(true) {
            return;
        }
        match self.take(1) {
            "\\" => self.skip(),
            "\"" => self.leave(),
            _ => {}
        }
    }

    fn read_comment(&mut self) {
        if self.rest.starts_with('\n') {
            self.leave();
        } else {
            self.take(1);
        }
    }

    fn read_document(&mut self, document: &Document) {
        if self.out.ends_with('\n') {
            let line = self.rest.split('\n').next().unwrap_or_default();
            let bare = if document.indented { line.trim_start_matches('\t') } else { line };
            if bare == document.delimiter {
                let length = line.chars().count();
                self.take(length);
                self.leave();
                return;
            }
        }
        if document.verbatim || !self.expansion(true) {
            let taken = self.take(1);
            if taken == "\\" && !document.verbatim {
                self.skip();
            }
        }
    }

    fn read_arithmetic(&mut self, open: usize) {
        if self.expansion(false) {
            return;
        }
        let open = match self.take(1) {
            "(" => open + 1,
            ")" => open - 1,
            _ => open,
        };
        self.leave();
        if open > 0 {
            self.places.push(Place::Arithmetic { open });
        }
    }

    fn read_expansion(&mut self, quoted: bool) {
        if self.expansion(quoted) {
            return;
        }
        match self.take(1) {
            "\\" => self.skip(),
            "}" => self.leave(),
            "\"" => self.places.push(Place::Double),
            "'" if !quoted => self.places.push(Place::Single),
            _ => {}
        }
    }

    fn read_commands(&mut self, within: Within) {
        if self.expansion(false) || self.document() {
            return;
        }
        let begins_word = self.begins_word();
        if begins_word && self.rest.starts_with("((") {
            self.take(2);
            self.places.push(Place::Arithmetic { open: 2 });
            return;
        }
        match (self.take(1), within) {
            ("\\", _) => self.skip(),
            ("'", _) => self.places.push(Place::Single),
            ("\"", _) => self.places.push(Place::Double),
            ("#", _) if begins_word => self.places.push(Place::Comment),
            ("\n", _) => self.begin_document(),
            ("(", Within::Parentheses { open }) => self.count(open + 1),
            (")", Within::Parentheses { open }) => self.count(open - 1),
            _ => {}
        }
    }

    /// `$(`, `${`, backticks and the like: whether there was one.
    fn expansion(&mut self, quoted: bool) -> bool {
        let begun = [
            ("$((", Place::Arithmetic { open: 2 }),
            ("$(", Place::Commands { within: Within::Parentheses { open: 1 } }),
            ("${", Place::Expansion { quoted }),
        ];
        for (sign, place) in begun {
            if self.rest.starts_with(sign) {
                self.take(sign.len());
                self.places.push(place);
                return true;
            }
        }
        if !quoted && self.rest.starts_with("$'") {
            self.take(2);
            self.places.push(Place::Escaped);
            return true;
        }
        if self.rest.starts_with('`') {
            self.take(1);
            // The second one ends the first, whatever is still open in between.
            let open = self.places.iter().rposition(|place| *place == Place::Commands { within: Within::Backticks });
            match open {
                Some(open) => self.places.truncate(open),
                None => self.places.push(Place::Commands { within: Within::Backticks }),
            }
            return true;
        }
        false
    }

    /// `<<word`: whether there was one.
    fn document(&mut self) -> bool {
        if self.rest.starts_with("<<<") {
            self.take(3);
            return true;
        }
        if !self.rest.starts_with("<<") {
            return false;
        }
        self.take(2);
        let indented = self.rest.starts_with('-');
        if indented {
            self.take(1);
        }
        while self.rest.starts_with([' ', '\t']) {
            self.take(1);
        }
        let mut document = Document { delimiter: String::new(), verbatim: false, indented };
        let mut quote = None;
        while let Some(c) = self.rest.chars().next() {
            if c == '\n' || (quote.is_none() && (c.is_whitespace() || ";&|<>()".contains(c))) {
                break;
            }
            self.take(1);
            match quote {
                Some(open) if open == c => quote = None,
                None if c == '\'' || c == '"' => (quote, document.verbatim) = (Some(c), true),
                None if c == '\\' => document.verbatim = true,
                _ => document.delimiter.push(c),
            }
        }
        self.announced.push(document);
        true
    }

    fn begin_document(&mut self) {
        if !self.announced.is_empty() {
            let document = self.announced.remove(0);
            self.places.push(Place::Document(document));
        }
    }

    fn count(&mut self, open: usize) {
        self.leave();
        if open > 0 {
            self.places.push(Place::Commands { within: Within::Parentheses { open } });
        }
    }

    fn begins_word(&self) -> bool {
        self.out.chars().next_back().is_none_or(|c| c.is_whitespace() || ";&|()`".contains(c))
    }

    /// So many characters, as they are.
    fn take(&mut self, characters: usize) -> &'a str {
        let end = self.rest.char_indices().nth(characters).map_or(self.rest.len(), |(at, _)| at);
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.out.push_str(taken);
        taken
    }

    /// What follows a `\`: one character, which means nothing.
    fn skip(&mut self) {
        self.take(1);
    }

    fn leave(&mut self) {
        self.places.pop();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVIL: &str = "x'\"; `touch $(id)` #\n";

    fn values() -> Vec<Value> {
        let value = |placeholders, name, text: &str| Value { placeholders, name, text: text.to_owned() };
        vec![
            value(&["failedHost", "otherName"], "ORC_FAILED_HOST", "db-1.example.com"),
            value(&["evil"], "ORC_EVIL", EVIL),
            value(&["empty"], "ORC_EMPTY", ""),
            value(&["count"], "", "3"),
        ]
    }

    fn check(script: &str, expected: &str) {
        assert_eq!(fill(script, &values()), expected, "{script}");
    }

    #[test]
    fn harmless_values_are_put_in_as_they_are() {
        check("echo {failedHost}:{count} '{otherName}' {empty}.", "echo db-1.example.com:3 'db-1.example.com' .");
    }

    #[test]
    fn names_that_mean_nothing_stay() {
        for text in
            ["{unknown} {failedhost} {", "a {} } {failedHost", "${failedHost} \"${failedHost}\"", "{ failedHost }"]
        {
            check(text, text);
        }
    }

    #[test]
    fn other_values_become_references_in_the_quotes_of_their_place() {
        for (script, expected) in [
            ("echo {evil} x", "echo \"${ORC_EVIL}\" x"),
            ("echo a{evil}b", "echo a\"${ORC_EVIL}\"b"),
            ("echo \"a {evil} b\" {evil}", "echo \"a ${ORC_EVIL} b\" \"${ORC_EVIL}\""),
            ("echo 'a {evil} b' {evil}", "echo 'a '\"${ORC_EVIL}\"' b' \"${ORC_EVIL}\""),
            ("echo $'a\\'{evil}' {evil}", "echo $'a\\''\"${ORC_EVIL}\"$'' \"${ORC_EVIL}\""),
            ("echo \"it's {evil}\"", "echo \"it's ${ORC_EVIL}\""),
            ("echo \"\\\"{evil}\\\"\"", "echo \"\\\"${ORC_EVIL}\\\"\""),
            ("echo it\\'s {evil}", "echo it\\'s \"${ORC_EVIL}\""),
            (
                "echo \"$(cat '{evil}' \"{evil}\" {evil})\"",
                "echo \"$(cat ''\"${ORC_EVIL}\"'' \"${ORC_EVIL}\" \"${ORC_EVIL}\")\"",
            ),
            ("echo \"`cat {evil}` {evil}\"", "echo \"`cat \"${ORC_EVIL}\"` ${ORC_EVIL}\""),
            ("echo $(a (b) {evil}) {evil}", "echo $(a (b) \"${ORC_EVIL}\") \"${ORC_EVIL}\""),
            ("echo ${x:-{evil}}", "echo ${x:-\"${ORC_EVIL}\"}"),
            ("echo \"${x:-'{evil}'}\"", "echo \"${x:-'${ORC_EVIL}'}\""),
            (
                "curl -d '{\"text\": \"{evil}\"}' {failedHost}",
                "curl -d '{\"text\": \"'\"${ORC_EVIL}\"'\"}' db-1.example.com",
            ),
        ] {
            check(script, expected);
        }
    }

    #[test]
    fn where_nothing_can_be_quoted_only_harmless_characters_are_left() {
        let tame = "x___ _touch __id__ __";
        check("a # it's {evil}\nb {evil}", &format!("a # it's {tame}\nb \"${{ORC_EVIL}}\""));
        check("echo $(( {evil} + 1 )) {evil}", &format!("echo $(( {tame} + 1 )) \"${{ORC_EVIL}}\""));
        check("((x = (1) + {evil})); a {evil}", &format!("((x = (1) + {tame})); a \"${{ORC_EVIL}}\""));
        check("cat <<'E O'\n{evil}'\nE O\n{evil}", &format!("cat <<'E O'\n{tame}'\nE O\n\"${{ORC_EVIL}}\""));
        check("cat << \\E\n{evil}\nE", &format!("cat << \\E\n{tame}\nE"));
    }

    #[test]
    fn here_documents_end_where_they_end() {
        check(
            "cat <<E; echo {evil}\n'{evil}'\nE \nE\n{evil}",
            "cat <<E; echo \"${ORC_EVIL}\"\n'${ORC_EVIL}'\nE \nE\n\"${ORC_EVIL}\"",
        );
        check("cat <<-E\n\t{evil}\"\n\tE\n{evil}", "cat <<-E\n\t${ORC_EVIL}\"\n\tE\n\"${ORC_EVIL}\"");
        check("a <<A <<'B'\n{evil}\nA\n{count}'\nB\n{evil}", "a <<A <<'B'\n${ORC_EVIL}\nA\n3'\nB\n\"${ORC_EVIL}\"");
        check("a <<< {evil}\n{evil}", "a <<< \"${ORC_EVIL}\"\n\"${ORC_EVIL}\"");
        check("echo $((1 << 2))\n{evil}\n", "echo $((1 << 2))\n\"${ORC_EVIL}\"\n");
    }

    #[test]
    fn a_hash_within_a_word_is_no_comment() {
        check("a#b '{evil}' ${#x} {evil}", "a#b ''\"${ORC_EVIL}\"'' ${#x} \"${ORC_EVIL}\"");
        check("a;# {count} '\n'{evil}'", "a;# 3 '\n''\"${ORC_EVIL}\"''");
    }

    proptest! {
        /// Whatever the script looks like, what comes from a value is harmless characters and blanks: the rest of the
        /// result is the script and references.
        #[test]
        fn nothing_but_harmless_characters_comes_from_a_value(
            script in "([a-z '\"`$(){}#\\\\<&;|\n-]|\\{evil\\}|<<E|<<'E'|\\nE\\n|\\$\\(|\\(\\(){0,40}",
            value in "\\PC{0,12}[\u{4}\u{5}\n]",
        ) {
            let text = value.replace(|c: char| !is_harmless(c) && c != ' ', "\u{5}");
            let value = Value { placeholders: &["evil"], name: "ORC_EVIL", text };
            let leaked = fill(&script, &[value]).contains('\u{5}');
            prop_assert!(!leaked);
            prop_assert_eq!(fill(&script, &[]), script);
        }
    }
}
