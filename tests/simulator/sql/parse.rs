//! Reads statements: SELECT over server facts, SHOW, changes, and those that are accepted without effect.

mod changes;
mod expressions;

use super::lexer::{self, Spanned, Token};
use super::{Expr, Item, Operator, Select, SqlError, Value};
use crate::change::Change;
use crate::server::Dialect;
use crate::tables::{self, Table};

/// A statement that was understood.
pub(super) enum Parsed {
    /// Accepted without effect.
    Nothing,
    Query(Select),
    Change(Change),
}

type Outcome = Result<Parsed, SqlError>;

/// Words that end an expression, so they are no alias.
const CLAUSES: [&str; 12] =
    ["FROM", "WHERE", "ORDER", "LIMIT", "GROUP", "HAVING", "UNION", "AS", "AND", "OR", "ASC", "DESC"];

/// The statements of a packet, each with its text, and the number of parameters. A bad one is the last: real servers
/// parse one after the other and stop there.
pub(super) fn statements(text: &str, dialect: Dialect) -> (Vec<(Outcome, String)>, usize) {
    let tokens = match lexer::tokens(text) {
        Ok(tokens) => tokens,
        Err(error) => return (vec![(Err(error), text.to_owned())], 0),
    };
    let mut parameters = 0;
    let mut found = Vec::new();
    for part in tokens.split(|token| token.token == Token::Mark(";")).filter(|part| !part.is_empty()) {
        let mut parser = Parser { text, tokens: part, at: 0, dialect, parameters };
        let parsed = parser.statement();
        parameters = parser.parameters;
        let bad = parsed.is_err();
        found.push((parsed, text[part[0].start..part[part.len() - 1].end].to_owned()));
        if bad {
            break;
        }
    }
    if found.is_empty() {
        let error = SqlError::new(1065, "42000", "Query was empty".to_owned());
        found.push((Err(error), text.to_owned()));
    }
    (found, parameters)
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Spanned],
    at: usize,
    dialect: Dialect,
    parameters: usize,
}

impl Parser<'_> {
    fn statement(&mut self) -> Outcome {
        let Some(Token::Word(first)) = self.peek() else { return Err(self.syntax()) };
        match first.to_ascii_uppercase().as_str() {
            "SELECT" => {
                self.at += 1;
                let select = self.select()?;
                self.end()?;
                Ok(Parsed::Query(select))
            }
            "SHOW" => {
                self.at += 1;
                self.show().map(Parsed::Query)
            }
            "SET" => {
                self.at += 1;
                Ok(self.set()?.map_or(Parsed::Nothing, Parsed::Change))
            }
            "STOP" | "START" | "RESET" | "CHANGE" => {
                let verb = first.to_ascii_uppercase();
                self.at += 1;
                self.replication(&verb)
            }
            "BEGIN" | "COMMIT" | "ROLLBACK" | "KILL" | "DO" => Ok(Parsed::Nothing),
            _ => Err(self.syntax()),
        }
    }

    /// After a verb of replication.
    fn replication(&mut self, verb: &str) -> Outcome {
        if verb == "CHANGE" {
            return self.change().map(Parsed::Change);
        }
        if !self.replica_word() {
            // START TRANSACTION
            return if verb == "START" && self.word("TRANSACTION") { Ok(Parsed::Nothing) } else { Err(self.syntax()) };
        }
        Ok(Parsed::Change(match verb {
            "STOP" => Change::Stop(self.threads()?),
            "START" => Change::Start(self.threads()?),
            _ => self.reset()?,
        }))
    }

    /// SHOW is a list of words, then perhaps LIKE, WHERE or FOR CHANNEL.
    fn show(&mut self) -> Result<Select, SqlError> {
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.peek() {
            let word = word.to_ascii_uppercase();
            if matches!(word.as_str(), "LIKE" | "WHERE" | "FOR") {
                break;
            }
            words.push(word);
            self.at += 1;
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let table = tables::show(self.dialect, &words).ok_or_else(|| self.syntax_from(0))?;
        let mut select = Select { table: Some(table), items: None, filter: None, limit: None };
        if self.word("LIKE") {
            let Some(Token::Text(pattern)) = self.peek() else { return Err(self.syntax()) };
            let sides = [Expr::Column(0), Expr::Literal(Value::text(pattern.clone()))];
            select.filter = Some(Expr::Binary(Operator::Like, Box::new(sides)));
            self.at += 1;
        } else if self.word("WHERE") {
            let filter = self.expr()?;
            select.filter = Some(resolve(filter, Some(table))?);
        } else if self.word("FOR") && (!self.word("CHANNEL") || self.next().is_none()) {
            return Err(self.syntax());
        }
        self.end()?;
        Ok(select)
    }

    fn select(&mut self) -> Result<Select, SqlError> {
        let mut items = Vec::new();
        let mut all = false;
        loop {
            if self.mark("*") {
                all = true;
            } else {
                items.push(self.item()?);
            }
            if !self.mark(",") {
                break;
            }
        }
        if all && !items.is_empty() {
            return Err(self.syntax());
        }
        let table = if self.word("FROM") { self.table()? } else { None };
        let filter = if self.word("WHERE") { Some(resolve(self.expr()?, table)?) } else { None };
        // Rows already come in an order that never changes; asking for another one is accepted and not honoured.
        if self.word("ORDER") {
            if !self.word("BY") {
                return Err(self.syntax());
            }
            loop {
                resolve(self.expr()?, table)?;
                let _ = self.word("ASC") || self.word("DESC");
                if !self.mark(",") {
                    break;
                }
            }
        }
        let limit = if self.word("LIMIT") {
            match self.next() {
                Some(Token::Number(n)) => Some(n.parse().map_err(|_| SqlError::syntax(&n))?),
                _ => return Err(self.syntax()),
            }
        } else {
            None
        };
        let items = if all {
            None
        } else {
            let resolved: Result<Vec<Item>, SqlError> =
                items.into_iter().map(|item| Ok(Item { name: item.name, expr: resolve(item.expr, table)? })).collect();
            Some(resolved?)
        };
        Ok(Select { table, items, filter, limit })
    }

    /// An expression and its name: the alias, a literal's text, or what was written.
    fn item(&mut self) -> Result<Item, SqlError> {
        let first = self.at;
        let expr = self.expr()?;
        let written = &self.text[self.tokens[first].start..self.tokens[self.at - 1].end];
        let named = self.word("AS");
        let alias = match self.peek() {
            Some(Token::Quoted(name)) => Some(name.clone()),
            Some(Token::Text(name)) if named || !name.is_empty() => Some(name.clone()),
            Some(Token::Word(word)) if named || !CLAUSES.contains(&word.to_ascii_uppercase().as_str()) => {
                Some(word.clone())
            }
            _ if named => return Err(self.syntax()),
            _ => None,
        };
        if alias.is_some() {
            self.at += 1;
        }
        let name = alias.unwrap_or_else(|| match &expr {
            Expr::Literal(Value::Text(text)) => text.clone().into_owned(),
            Expr::Literal(Value::Null) => "NULL".to_owned(),
            Expr::Name(name) => name.clone(),
            _ => written.to_owned(),
        });
        Ok(Item { name, expr })
    }

    fn table(&mut self) -> Result<Option<&'static Table>, SqlError> {
        let first = self.name()?;
        let (schema, name) = if self.mark(".") { (first, self.name()?) } else { (String::new(), first) };
        let _ = self.word("AS");
        if let Some(Token::Word(word)) = self.peek()
            && !CLAUSES.contains(&word.to_ascii_uppercase().as_str())
            && !word.eq_ignore_ascii_case("JOIN")
        {
            self.at += 1;
        }
        if schema.is_empty() && name.eq_ignore_ascii_case("dual") {
            return Ok(None);
        }
        let table = tables::find(self.dialect, &schema, &name)?;
        if self.word("JOIN") {
            self.joined()?;
        }
        Ok(Some(table))
    }

    /// After JOIN: `schema.table alias USING (column)`. The first table holds the columns of the second where one is asked
    /// with the other.
    fn joined(&mut self) -> Result<(), SqlError> {
        let schema = self.name()?;
        if !self.mark(".") {
            return Err(self.syntax());
        }
        let name = self.name()?;
        tables::find(self.dialect, &schema, &name)?;
        if !self.word("USING") {
            self.name()?;
            if !self.word("USING") {
                return Err(self.syntax());
            }
        }
        if self.mark("(") && self.name().is_ok() && self.mark(")") { Ok(()) } else { Err(self.syntax()) }
    }

    fn name(&mut self) -> Result<String, SqlError> {
        match self.next() {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name),
            _ => Err(self.syntax()),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn mark(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Mark(mark)) if *mark == wanted);
        self.at += usize::from(found);
        found
    }

    fn end(&self) -> Result<(), SqlError> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.syntax()) }
    }

    fn syntax(&self) -> SqlError {
        self.syntax_from(self.at)
    }

    fn syntax_from(&self, at: usize) -> SqlError {
        let end = self.tokens.last().map_or(0, |token| token.end);
        let start = self.tokens.get(at).map_or(end, |token| token.start);
        SqlError::syntax(&self.text[start..end])
    }
}

/// Finds the columns that names mean.
fn resolve(expr: Expr, table: Option<&'static Table>) -> Result<Expr, SqlError> {
    let one = |expr: Box<Expr>| resolve(*expr, table).map(Box::new);
    let all = |list: Vec<Expr>| list.into_iter().map(|expr| resolve(expr, table)).collect::<Result<Vec<_>, _>>();
    Ok(match expr {
        Expr::Name(name) => table
            .and_then(|table| table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(&name)))
            .map(Expr::Column)
            .ok_or_else(|| SqlError::new(1054, "42S22", format!("Unknown column '{name}' in 'field list'")))?,
        Expr::Call(function, list) => Expr::Call(function, all(list)?),
        Expr::Binary(operator, sides) => {
            let [left, right] = *sides;
            expressions::binary(operator, resolve(left, table)?, resolve(right, table)?)
        }
        Expr::Not(inner) => Expr::Not(one(inner)?),
        Expr::Negate(inner) => Expr::Negate(one(inner)?),
        Expr::IsNull(inner) => Expr::IsNull(one(inner)?),
        Expr::In(inner, list) => Expr::In(one(inner)?, all(list)?),
        Expr::Case(branches, otherwise) => Expr::Case(
            branches
                .into_iter()
                .map(|(when, then)| Ok((resolve(when, table)?, resolve(then, table)?)))
                .collect::<Result<_, SqlError>>()?,
            otherwise.map(one).transpose()?,
        ),
        Expr::Aggregate(aggregate, inner) => Expr::Aggregate(aggregate, inner.map(one).transpose()?),
        done @ (Expr::Literal(_) | Expr::Parameter(_) | Expr::Variable(_) | Expr::Column(_) | Expr::Subquery(_)) => {
            done
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str, dialect: Dialect) -> Vec<Option<u16>> {
        statements(text, dialect).0.iter().map(|(parsed, _)| parsed.as_ref().err().map(|error| error.code)).collect()
    }

    #[test]
    fn a_bad_statement_ends_the_batch() {
        let text = "SELECT 1; FROBNICATE; SELECT 2";
        assert_eq!(errors(text, Dialect::MySql), [None, Some(1064)]);
    }

    #[test]
    fn each_dialect_knows_its_own_words() {
        for (text, mysql, mariadb) in [
            ("SHOW REPLICA STATUS", None, None),
            ("SHOW SLAVE STATUS", Some(1064), None),
            ("SHOW ALL SLAVES STATUS", Some(1064), None),
            ("SHOW BINARY LOG STATUS", None, Some(1064)),
            ("SHOW MASTER STATUS", Some(1064), None),
            ("SHOW BINLOG STATUS", Some(1064), None),
            ("SHOW REPLICAS", None, Some(1064)),
            ("SHOW SLAVE HOSTS", Some(1064), None),
            ("SELECT @@server_uuid", None, Some(1193)),
            ("SELECT @@gtid_slave_pos", Some(1193), None),
            ("SELECT @@nonsense", Some(1193), Some(1193)),
            ("SELECT * FROM performance_schema.replication_group_members", None, Some(1146)),
            ("SELECT nonsense FROM information_schema.processlist", Some(1054), Some(1054)),
            (
                "SELECT told.HEARTBEAT_INTERVAL, TIMESTAMPDIFF(MICROSECOND, GREATEST(heard.LAST_HEARTBEAT_TIMESTAMP, \
                 heard.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP), NOW(6)) \
                 FROM performance_schema.replication_connection_status heard \
                 JOIN performance_schema.replication_connection_configuration told USING (CHANNEL_NAME) \
                 WHERE CHANNEL_NAME = ''",
                None,
                Some(1146),
            ),
            ("START REPLICA", None, None),
            ("STOP SLAVE IO_THREAD", Some(1064), None),
            ("RESET REPLICA ALL FOR CHANNEL ''", None, None),
            ("START REPLICA SQL_THREAD UNTIL SOURCE_LOG_FILE = 'x'", Some(1064), Some(1064)),
            ("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.10.0.2', SOURCE_PORT = 3306", None, Some(1064)),
            ("CHANGE MASTER TO MASTER_HOST = '//db', MASTER_USE_GTID = slave_pos", Some(1064), None),
            ("SET GLOBAL super_read_only = ON", None, Some(1193)),
            ("SET GLOBAL read_only = OFF", None, None),
            ("SET GLOBAL read_only = PERHAPS", Some(1064), Some(1064)),
            ("START TRANSACTION READ ONLY", None, None),
            ("SET NAMES utf8mb4", None, None),
        ] {
            assert_eq!(errors(text, Dialect::MySql), [mysql], "{text}");
            assert_eq!(errors(text, Dialect::MariaDb), [mariadb], "{text}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in [
            "",
            ";",
            "SELECT",
            "SELECT '",
            "SELECT (",
            "SHOW",
            "SHOW VARIABLES LIKE",
            "\u{fffd}",
            "SELECT 1 FROM",
            "SELECT -",
            "@@",
            "SELECT @@",
        ] {
            assert!(errors(text, Dialect::MySql).iter().any(Option::is_some), "{text}");
        }
    }
}
