//! Statements, compiled once and answered many times.
//!
//! A packet of statements is parsed when its text is first seen and kept as a [`Plan`], with its column definitions
//! already encoded: a probe sends the same text to every server, so per query only the row values are computed.

mod evaluate;
mod lexer;
mod parse;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use parse::Parsed;
pub(crate) use value::{Kind, Value};

use crate::change::Change;
use crate::facts::Facts;
use crate::server::Dialect;
use crate::tables::Table;
use crate::variables::Variable;
use crate::wire::{self, Reply};

/// Distinct texts kept. A prober has a dozen; one that writes literals into its statements must not fill the memory.
const MOST_PLANS: usize = 1024;

/// An error packet in the making.
#[derive(Debug, Clone)]
pub(crate) struct SqlError {
    pub(crate) code: u16,
    pub(crate) state: &'static str,
    pub(crate) text: String,
}

impl SqlError {
    pub(crate) fn new(code: u16, state: &'static str, text: String) -> Self {
        Self { code, state, text }
    }

    pub(crate) fn syntax(near: &str) -> Self {
        Self::new(1064, "42000", format!("You have an error in your SQL syntax; the simulator stumbled near '{near}'"))
    }
}

#[derive(Debug)]
pub(crate) enum Expr {
    Literal(Value),
    Parameter(usize),
    Variable(&'static Variable),
    /// A name before it is looked up in the table of its SELECT.
    Name(String),
    Column(usize),
    Call(Function, Vec<Expr>),
    Binary(Operator, Box<[Expr; 2]>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    IsNull(Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    Aggregate(Aggregate, Option<Box<Expr>>),
    Subquery(Box<Select>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Coalesce,
    Concat,
    ConnectionId,
    Database,
    Greatest,
    If,
    Left,
    Length,
    Lower,
    MicrosBetween,
    Now(u8),
    NullIf,
    Replace,
    SubstringIndex,
    ToText,
    ToNumber,
    UnixTimestamp,
    Upper,
    User,
    Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    And,
    Or,
    Equal,
    NullSafeEqual,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    Plus,
    Minus,
    Times,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Count,
    Max,
    Min,
    Sum,
}

#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) table: Option<&'static Table>,
    /// `None`: every column of the table as it is.
    pub(crate) items: Option<Vec<Item>>,
    pub(crate) filter: Option<Expr>,
    pub(crate) limit: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) expr: Expr,
}

#[derive(Debug)]
pub(crate) enum Statement {
    /// Accepted without effect: SET of most things, transactions.
    Accepted,
    Change(Change),
    Query(Query),
    Failed {
        error: SqlError,
        text: String,
    },
}

#[derive(Debug)]
pub(crate) struct Query {
    /// The packets of the column definitions, with the count before them.
    columns: Vec<u8>,
    kinds: Vec<Kind>,
    select: Select,
}

/// How rows are written: as text, or as the answer to a prepared statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

/// A packet of statements, ready to be answered by any server of one dialect.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) statements: Vec<Statement>,
    pub(crate) parameters: usize,
}

impl Plan {
    pub(crate) fn compile(text: &str, dialect: Dialect) -> Self {
        let (parsed, parameters) = parse::statements(text, dialect);
        let statements = parsed
            .into_iter()
            .map(|(statement, text)| match statement {
                Ok(Parsed::Nothing) => Statement::Accepted,
                Ok(Parsed::Change(change)) => Statement::Change(change),
                Ok(Parsed::Query(select)) => Statement::Query(Query::new(select, dialect)),
                Err(error) => Statement::Failed { error, text },
            })
            .collect();
        Self { statements, parameters }
    }

    /// Columns of the first statement, for the answer to a prepare.
    pub(crate) fn first_columns(&self) -> Option<&Query> {
        match self.statements.first() {
            Some(Statement::Query(query)) => Some(query),
            _ => None,
        }
    }

    /// Writes every result; an error ends the batch. Returns how many statements were run, and the failed one.
    pub(crate) fn answer(
        &self,
        reply: &mut Reply,
        facts: &Facts<'_>,
        parameters: &[Value],
        format: Format,
        deprecate_eof: bool,
    ) -> (u64, Option<(&SqlError, &str)>) {
        for (at, statement) in self.statements.iter().enumerate() {
            let more = at + 1 < self.statements.len();
            match statement {
                Statement::Accepted => reply.ok(more),
                // Real servers refuse so as well: right, hence not "unknown".
                Statement::Change(change) => match change.carry_out(facts) {
                    Ok(()) => reply.ok(more),
                    Err(error) => {
                        reply.error(error.code, error.state, &error.text);
                        return (at as u64 + 1, None);
                    }
                },
                Statement::Query(query) => query.answer(reply, facts, parameters, format, deprecate_eof, more),
                Statement::Failed { error, text } => {
                    reply.error(error.code, error.state, &error.text);
                    return (at as u64 + 1, Some((error, text)));
                }
            }
        }
        (self.statements.len() as u64, None)
    }
}

impl Query {
    fn new(select: Select, dialect: Dialect) -> Self {
        let charset = match dialect {
            Dialect::MySql => 255,
            Dialect::MariaDb => 45,
        };
        let mut columns = Reply::after(0);
        let mut kinds = Vec::new();
        let heads = select.heads();
        columns.packet(|out| wire::lenenc(out, heads.len()));
        let table = select.table.map_or("", |table| table.name);
        for (name, kind, not_null) in heads {
            columns.packet(|out| wire::column_definition(out, table, &name, kind, not_null, charset));
            kinds.push(kind);
        }
        Self { columns: columns.bytes, kinds, select }
    }

    /// Column definitions alone, without the packet of their number.
    pub(crate) fn definitions(&self) -> &[u8] {
        // The number of columns always fits the short form here: one byte after the header.
        self.columns.get(wire::HEADER + 1..).unwrap_or_default()
    }

    pub(crate) fn column_count(&self) -> usize {
        self.kinds.len()
    }

    fn answer(
        &self,
        reply: &mut Reply,
        facts: &Facts<'_>,
        parameters: &[Value],
        format: Format,
        deprecate_eof: bool,
        more: bool,
    ) {
        reply.packets(&self.columns);
        if !deprecate_eof {
            reply.end(false, more);
        }
        self.select.rows(facts, parameters, &mut |values| match format {
            Format::Text => reply.text_row(values),
            Format::Binary => reply.binary_row(values, &self.kinds),
        });
        reply.end(deprecate_eof, more);
    }
}

/// Plans by text and dialect.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    mysql: HashMap<Box<str>, Arc<Plan>>,
    mariadb: HashMap<Box<str>, Arc<Plan>>,
}

impl PlanCache {
    pub(crate) fn get(&mut self, text: &str, dialect: Dialect) -> Arc<Plan> {
        let plans = match dialect {
            Dialect::MySql => &mut self.mysql,
            Dialect::MariaDb => &mut self.mariadb,
        };
        if let Some(plan) = plans.get(text) {
            return Arc::clone(plan);
        }
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        let plan = Arc::new(Plan::compile(text, dialect));
        plans.insert(text.into(), Arc::clone(&plan));
        plan
    }
}
