//! Expressions, by descent through the levels of precedence.

use super::super::lexer::Token;
use super::super::{Aggregate, Expr, Function, Operator, SqlError, Value};
use super::{CLAUSES, Parser};
use crate::variables;

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr, SqlError> {
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
            return if bare { function(&upper, Vec::new()) } else { Ok(Expr::Name(self.last_part(word)?)) };
        }
        match upper.as_str() {
            "COUNT" | "MAX" | "MIN" | "SUM" => self.aggregate(&upper),
            "CAST" => self.cast(),
            "TIMESTAMPDIFF" if self.word("MICROSECOND") && self.mark(",") => {
                Ok(Expr::Call(Function::MicrosBetween, self.arguments()?))
            }
            _ => {
                let arguments = self.arguments()?;
                function(&upper, arguments)
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
}

fn function(name: &str, mut arguments: Vec<Expr>) -> Result<Expr, SqlError> {
    let (function, least) = match name {
        "IFNULL" => (Function::Coalesce, 2),
        "COALESCE" => (Function::Coalesce, 1),
        "CONCAT" => (Function::Concat, 1),
        "CONNECTION_ID" => (Function::ConnectionId, 0),
        "DATABASE" | "SCHEMA" => (Function::Database, 0),
        "GREATEST" => (Function::Greatest, 2),
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

fn number(digits: &str) -> Value {
    digits
        .parse()
        .map(Value::Int)
        .or_else(|_| digits.parse().map(Value::UInt))
        .unwrap_or_else(|_| Value::Decimal(digits.to_owned()))
}

pub(super) fn binary(operator: Operator, left: Expr, right: Expr) -> Expr {
    Expr::Binary(operator, Box::new([left, right]))
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
}
