//! Reads statements: SELECT over server facts, SHOW, and those that are accepted without effect.

use super::lexer::{self, Spanned, Token};
use super::{Aggregate, Expr, Function, Item, Operator, Select, SqlError, Value};
use crate::server::Dialect;
use crate::tables::{self, Table};
use crate::variables;

/// `None`: accepted without effect.
type Parsed = Result<Option<Select>, SqlError>;

/// Words that end an expression, so they are no alias.
const CLAUSES: [&str; 12] =
    ["FROM", "WHERE", "ORDER", "LIMIT", "GROUP", "HAVING", "UNION", "AS", "AND", "OR", "ASC", "DESC"];

/// The statements of a packet, each with its text, and the number of parameters. A bad one is the last: real servers
/// parse one after the other and stop there.
pub(super) fn statements(text: &str, dialect: Dialect) -> (Vec<(Parsed, String)>, usize) {
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
    fn statement(&mut self) -> Parsed {
        let Some(Token::Word(first)) = self.peek() else { return Err(self.syntax()) };
        match first.to_ascii_uppercase().as_str() {
            "SELECT" => {
                self.at += 1;
                let select = self.select()?;
                self.end()?;
                Ok(Some(select))
            }
            "SHOW" => {
                self.at += 1;
                self.show().map(Some)
            }
            "SET" | "BEGIN" | "COMMIT" | "ROLLBACK" | "START"
                if !self.says("START", "REPLICA") && !self.says("START", "SLAVE") =>
            {
                Ok(None)
            }
            _ => Err(self.syntax()),
        }
    }

    fn says(&self, first: &str, second: &str) -> bool {
        let word = |at: usize, wanted: &str| matches!(self.tokens.get(at).map(|t| &t.token), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        word(self.at, first) && word(self.at + 1, second)
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
        {
            self.at += 1;
        }
        if schema.is_empty() && name.eq_ignore_ascii_case("dual") {
            return Ok(None);
        }
        tables::find(self.dialect, &schema, &name).map(Some)
    }

    fn name(&mut self) -> Result<String, SqlError> {
        match self.next() {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name),
            _ => Err(self.syntax()),
        }
    }

    fn expr(&mut self) -> Result<Expr, SqlError> {
        let mut left = self.conjunction()?;
        while self.word("OR") || self.mark("||") {
            left = binary(Operator::Or, left, self.conjunction()?);
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expr, SqlError> {
        let mut left = self.negation()?;
        while self.word("AND") || self.mark("&&") {
            left = binary(Operator::And, left, self.negation()?);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expr, SqlError> {
        if self.word("NOT") || self.mark("!") {
            return Ok(Expr::Not(Box::new(self.negation()?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, SqlError> {
        let left = self.sum()?;
        const OPERATORS: [(&str, Operator); 8] = [
            ("=", Operator::Equal),
            ("<=>", Operator::NullSafeEqual),
            ("<>", Operator::Unequal),
            ("!=", Operator::Unequal),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        for (mark, operator) in OPERATORS {
            if self.mark(mark) {
                return Ok(binary(operator, left, self.sum()?));
            }
        }
        if self.word("IS") {
            let negated = self.word("NOT");
            if !self.word("NULL") {
                return Err(self.syntax());
            }
            return Ok(negate_if(negated, Expr::IsNull(Box::new(left))));
        }
        let negated = self.word("NOT");
        if self.word("LIKE") {
            return Ok(negate_if(negated, binary(Operator::Like, left, self.sum()?)));
        }
        if self.word("IN") {
            if !self.mark("(") {
                return Err(self.syntax());
            }
            let list = self.arguments()?;
            return Ok(negate_if(negated, Expr::In(Box::new(left), list)));
        }
        if negated { Err(self.syntax()) } else { Ok(left) }
    }

    fn sum(&mut self) -> Result<Expr, SqlError> {
        let mut left = self.product()?;
        loop {
            let operator = match () {
                () if self.mark("+") => Operator::Plus,
                () if self.mark("-") => Operator::Minus,
                () => return Ok(left),
            };
            left = binary(operator, left, self.product()?);
        }
    }

    fn product(&mut self) -> Result<Expr, SqlError> {
        let mut left = self.atom()?;
        loop {
            let operator = match () {
                () if self.mark("*") => Operator::Times,
                () if self.mark("/") => Operator::Divide,
                () => return Ok(left),
            };
            left = binary(operator, left, self.atom()?);
        }
    }

    fn atom(&mut self) -> Result<Expr, SqlError> {
        let start = self.at;
        match self.next().ok_or_else(|| self.syntax_from(start))? {
            Token::Text(text) => Ok(Expr::Literal(Value::text(text))),
            Token::Number(digits) => Ok(Expr::Literal(number(&digits))),
            Token::SystemVariable(name) => variables::find(self.dialect, &name)
                .map(Expr::Variable)
                .ok_or_else(|| SqlError::new(1193, "HY000", format!("Unknown system variable '{name}'"))),
            Token::UserVariable => Ok(Expr::Literal(Value::Null)),
            Token::Parameter => {
                self.parameters += 1;
                Ok(Expr::Parameter(self.parameters - 1))
            }
            Token::Mark("-") => Ok(Expr::Negate(Box::new(self.atom()?))),
            Token::Mark("(") => {
                let inner = if self.word("SELECT") { Expr::Subquery(Box::new(self.select()?)) } else { self.expr()? };
                if self.mark(")") { Ok(inner) } else { Err(self.syntax()) }
            }
            Token::Quoted(name) => Ok(Expr::Name(self.last_part(name)?)),
            Token::Word(word) => self.word_atom(word),
            Token::Mark(_) => Err(self.syntax_from(start)),
        }
    }

    fn word_atom(&mut self, word: String) -> Result<Expr, SqlError> {
        let upper = word.to_ascii_uppercase();
        match upper.as_str() {
            "NULL" => return Ok(Expr::Literal(Value::Null)),
            "TRUE" => return Ok(Expr::Literal(Value::Int(1))),
            "FALSE" => return Ok(Expr::Literal(Value::Int(0))),
            "CASE" => return self.case(),
            _ if CLAUSES.contains(&upper.as_str()) => return Err(self.syntax_from(self.at - 1)),
            _ => {}
        }
        if !self.mark("(") {
            let bare = matches!(upper.as_str(), "CURRENT_USER" | "CURRENT_TIMESTAMP" | "UTC_TIMESTAMP");
            return if bare { self.function(&upper, Vec::new()) } else { Ok(Expr::Name(self.last_part(word)?)) };
        }
        match upper.as_str() {
            "COUNT" | "MAX" | "MIN" | "SUM" => self.aggregate(&upper),
            "CAST" => self.cast(),
            _ => {
                let arguments = self.arguments()?;
                self.function(&upper, arguments)
            }
        }
    }

    /// `table.column` is the column: there is one table at most.
    fn last_part(&mut self, first: String) -> Result<String, SqlError> {
        if self.mark(".") { self.name() } else { Ok(first) }
    }

    /// After the opening bracket.
    fn arguments(&mut self) -> Result<Vec<Expr>, SqlError> {
        let mut list = Vec::new();
        if self.mark(")") {
            return Ok(list);
        }
        loop {
            list.push(self.expr()?);
            if self.mark(")") {
                return Ok(list);
            }
            if !self.mark(",") {
                return Err(self.syntax());
            }
        }
    }

    fn aggregate(&mut self, name: &str) -> Result<Expr, SqlError> {
        let aggregate = match name {
            "COUNT" => Aggregate::Count,
            "MAX" => Aggregate::Max,
            "MIN" => Aggregate::Min,
            _ => Aggregate::Sum,
        };
        let inner = if aggregate == Aggregate::Count && self.mark("*") { None } else { Some(Box::new(self.expr()?)) };
        if self.mark(")") { Ok(Expr::Aggregate(aggregate, inner)) } else { Err(self.syntax()) }
    }

    fn cast(&mut self) -> Result<Expr, SqlError> {
        let inner = self.expr()?;
        if !self.word("AS") {
            return Err(self.syntax());
        }
        let function = match self.next() {
            Some(Token::Word(word)) => match word.to_ascii_uppercase().as_str() {
                "CHAR" => Function::ToText,
                "SIGNED" | "UNSIGNED" => Function::ToNumber,
                _ => return Err(self.syntax()),
            },
            _ => return Err(self.syntax()),
        };
        let _ = self.word("INTEGER");
        if self.mark("(") {
            self.arguments()?;
        }
        if self.mark(")") { Ok(Expr::Call(function, vec![inner])) } else { Err(self.syntax()) }
    }

    fn case(&mut self) -> Result<Expr, SqlError> {
        let mut branches = Vec::new();
        while self.word("WHEN") {
            let when = self.expr()?;
            if !self.word("THEN") {
                return Err(self.syntax());
            }
            branches.push((when, self.expr()?));
        }
        let otherwise = if self.word("ELSE") { Some(Box::new(self.expr()?)) } else { None };
        if self.word("END") { Ok(Expr::Case(branches, otherwise)) } else { Err(self.syntax()) }
    }

    fn function(&self, name: &str, mut arguments: Vec<Expr>) -> Result<Expr, SqlError> {
        let (function, least) = match name {
            "IFNULL" => (Function::Coalesce, 2),
            "COALESCE" => (Function::Coalesce, 1),
            "CONCAT" => (Function::Concat, 1),
            "CONNECTION_ID" => (Function::ConnectionId, 0),
            "DATABASE" | "SCHEMA" => (Function::Database, 0),
            "IF" => (Function::If, 3),
            "LEFT" => (Function::Left, 2),
            "LENGTH" | "CHAR_LENGTH" => (Function::Length, 1),
            "LOWER" | "LCASE" => (Function::Lower, 1),
            "UPPER" | "UCASE" => (Function::Upper, 1),
            "NOW" | "CURRENT_TIMESTAMP" | "SYSDATE" | "UTC_TIMESTAMP" => {
                let scale = match arguments.pop() {
                    Some(Expr::Literal(Value::Int(scale))) => u8::try_from(scale).unwrap_or(6),
                    _ => 0,
                };
                (Function::Now(scale), 0)
            }
            "NULLIF" => (Function::NullIf, 2),
            "REPLACE" => (Function::Replace, 3),
            "SUBSTRING_INDEX" => (Function::SubstringIndex, 3),
            "UNIX_TIMESTAMP" => (Function::UnixTimestamp, 0),
            "USER" | "CURRENT_USER" | "SESSION_USER" => (Function::User, 0),
            "VERSION" => (Function::Version, 0),
            _ => {
                let text = format!("FUNCTION {} does not exist", name.to_ascii_lowercase());
                return Err(SqlError::new(1305, "42000", text));
            }
        };
        if arguments.len() < least {
            let text = format!("Incorrect parameter count in the call to native function '{name}'");
            return Err(SqlError::new(1582, "42000", text));
        }
        Ok(Expr::Call(function, arguments))
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

fn number(digits: &str) -> Value {
    digits
        .parse()
        .map(Value::Int)
        .or_else(|_| digits.parse().map(Value::UInt))
        .unwrap_or_else(|_| Value::Decimal(digits.to_owned()))
}

fn binary(operator: Operator, left: Expr, right: Expr) -> Expr {
    Expr::Binary(operator, Box::new([left, right]))
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
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
            binary(operator, resolve(left, table)?, resolve(right, table)?)
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
            ("START REPLICA", Some(1064), Some(1064)),
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
