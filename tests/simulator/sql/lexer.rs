//! Splits SQL into tokens. Comments and blanks disappear; each token remembers where it stood.

use super::SqlError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    /// A name in backticks: never a keyword.
    Quoted(String),
    Text(String),
    Number(String),
    /// `@@scope.name`, without the scope.
    SystemVariable(String),
    UserVariable,
    Parameter,
    /// An operator or a bracket.
    Mark(&'static str),
}

#[derive(Debug, Clone)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longest first, so that `<=>` is not read as `<=`.
const MARKS: [&str; 22] = [
    "<=>", "<=", ">=", "<>", "!=", "||", "&&", ":=", "(", ")", ",", ";", "=", "<", ">", "+", "-", "*", "/", ".", "!",
    "%",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, SqlError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if let Some(length) = comment(rest) {
            at += length;
            continue;
        }
        let (token, length) = next(rest, first).ok_or_else(|| SqlError::syntax(rest))?;
        found.push(Spanned { token, start: at, end: at + length });
        at += length;
    }
    Ok(found)
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with("-- ") || rest.starts_with('#') {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    None
}

fn next(rest: &str, first: char) -> Option<(Token, usize)> {
    if let Some(name) = rest.strip_prefix("@@") {
        let length = name.find(|c: char| !word(c) && c != '.' && c != '`').unwrap_or(name.len());
        let name = name[..length].replace('`', "").to_ascii_lowercase();
        let bare = ["global.", "session.", "local.", "persist."].iter().find_map(|scope| name.strip_prefix(scope));
        return Some((Token::SystemVariable(bare.unwrap_or(&name).to_owned()), length + 2));
    }
    if let Some(name) = rest.strip_prefix('@') {
        let length = name.find(|c: char| !word(c)).unwrap_or(name.len());
        return Some((Token::UserVariable, length + 1));
    }
    match first {
        '\'' | '"' => quoted(rest, first).map(|(text, length)| (Token::Text(text), length)),
        '`' => quoted(rest, first).map(|(text, length)| (Token::Quoted(text), length)),
        '?' => Some((Token::Parameter, 1)),
        '0'..='9' => {
            let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            Some((Token::Number(rest[..length].to_owned()), length))
        }
        c if word(c) => {
            let length = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
            Some((Token::Word(rest[..length].to_owned()), length))
        }
        _ => MARKS.iter().find(|mark| rest.starts_with(**mark)).map(|mark| (Token::Mark(mark), mark.len())),
    }
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Doubled quotes and backslashes stand for themselves.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && quote != '`' {
            let (_, escaped) = characters.next()?;
            // In a pattern, \% and \_ keep their backslash until LIKE reads them.
            match escaped {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                '%' | '_' => text.extend(['\\', escaped]),
                other => text.push(other),
            }
        } else if c == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
                text.push(quote);
            } else {
                return Some((text, at + quote.len_utf8()));
            }
        } else {
            text.push(c);
        }
    }
    None
}
