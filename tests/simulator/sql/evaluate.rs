//! Computes expressions and rows for one server.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Aggregate, Expr, Function, Kind, Operator, Select, Value};
use crate::facts::{Facts, now_micros};
use crate::tables::{Row, Rows};

/// What an expression can see.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    facts: &'a Facts<'a>,
    parameters: &'a [Value],
    row: Row<'a>,
}

impl Select {
    /// Name, type and "never NULL" of each result column.
    pub(super) fn heads(&self) -> Vec<(String, Kind, bool)> {
        let columns = self.table.map_or(&[][..], |table| table.columns);
        match &self.items {
            None => columns.iter().map(|column| (column.name.to_owned(), column.kind, column.not_null)).collect(),
            Some(items) => items
                .iter()
                .map(|item| {
                    let not_null = matches!(item.expr, Expr::Column(at) if columns[at].not_null);
                    (item.name.clone(), item.expr.kind(self), not_null)
                })
                .collect(),
        }
    }

    pub(super) fn rows(&self, facts: &Facts<'_>, parameters: &[Value], emit: &mut dyn FnMut(&[Value])) {
        let aggregates = self.items.as_ref().is_some_and(|items| items.iter().any(|item| item.expr.aggregates()));
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut kept = Vec::new();
        self.each(facts, parameters, &mut |row| {
            if aggregates {
                kept.push(row.to_values());
            } else if left > 0 {
                left -= 1;
                self.emit_row(&Scope { facts, parameters, row }, emit);
            }
        });
        if aggregates && left > 0 {
            let items = self.items.as_deref().unwrap_or_default();
            let values: Vec<Value> = items.iter().map(|item| item.expr.over(&kept, facts, parameters)).collect();
            emit(&values);
        }
    }

    fn emit_row(&self, scope: &Scope<'_>, emit: &mut dyn FnMut(&[Value])) {
        match (&self.items, scope.row) {
            (None, Row::Cells(cells)) => emit(cells),
            (None, row) => emit(&row.to_values()),
            (Some(items), _) => {
                let values: Vec<Value> = items.iter().map(|item| item.expr.value(scope)).collect();
                emit(&values);
            }
        }
    }

    /// Every row of the table that passes the filter; one empty row without a table.
    fn each(&self, facts: &Facts<'_>, parameters: &[Value], act: &mut dyn FnMut(Row<'_>)) {
        let mut visit = |row: Row<'_>| {
            if self.filter.as_ref().is_none_or(|filter| filter.value(&Scope { facts, parameters, row }).is_true()) {
                act(row);
            }
        };
        match self.table.map(|table| (table.rows)(facts)) {
            None => visit(Row::Nothing),
            Some(Rows::Cells(rows)) => rows.iter().for_each(|cells| visit(Row::Cells(cells))),
            Some(Rows::Variables { lists, upper }) => {
                for variable in lists.iter().copied().flatten() {
                    visit(Row::Variable { variable, upper, facts });
                }
            }
        }
    }
}

impl Expr {
    pub(super) fn kind(&self, select: &Select) -> Kind {
        match self {
            Self::Literal(value) => match value {
                Value::Null => Kind::Null,
                Value::Int(_) => Kind::Int,
                Value::UInt(_) => Kind::UInt,
                Value::Real(_) => Kind::Real,
                Value::Decimal(_) => Kind::Decimal(1),
                Value::Text(text) => Kind::Text(u32::try_from(text.len() * 4).unwrap_or(u32::MAX)),
                Value::Time(_) => Kind::Time(6),
            },
            Self::Parameter(_) | Self::Name(_) => Kind::Text(1024),
            Self::Variable(variable) => variable.kind,
            Self::Column(at) => select.table.map_or(Kind::Null, |table| table.columns[*at].kind),
            Self::Call(function, arguments) => function.kind(arguments, select),
            Self::Binary(Operator::Plus | Operator::Minus | Operator::Times, sides) => {
                match sides[0].kind(select).or(sides[1].kind(select)) {
                    Kind::Text(_) | Kind::Blob | Kind::Real => Kind::Real,
                    Kind::Decimal(scale) => Kind::Decimal(scale),
                    _ => Kind::Int,
                }
            }
            Self::Binary(Operator::Divide, _) => Kind::Real,
            Self::Binary(..) | Self::Not(_) | Self::IsNull(_) | Self::In(..) | Self::Aggregate(Aggregate::Count, _) => {
                Kind::Int
            }
            Self::Negate(inner) => inner.kind(select),
            Self::Case(branches, otherwise) => branches
                .iter()
                .map(|(_, then)| then.kind(select))
                .chain(otherwise.iter().map(|expr| expr.kind(select)))
                .fold(Kind::Null, Kind::or),
            Self::Aggregate(Aggregate::Sum, _) => Kind::Decimal(0),
            Self::Aggregate(Aggregate::Max | Aggregate::Min, inner) => {
                inner.as_ref().map_or(Kind::Null, |expr| expr.kind(select))
            }
            Self::Subquery(inner) => inner.heads().first().map_or(Kind::Null, |(_, kind, _)| *kind),
        }
    }

    fn aggregates(&self) -> bool {
        match self {
            Self::Aggregate(..) => true,
            Self::Literal(_)
            | Self::Parameter(_)
            | Self::Variable(_)
            | Self::Name(_)
            | Self::Column(_)
            | Self::Subquery(_) => false,
            Self::Call(_, list) => list.iter().any(Self::aggregates),
            Self::In(expr, list) => expr.aggregates() || list.iter().any(Self::aggregates),
            Self::Binary(_, sides) => sides.iter().any(Self::aggregates),
            Self::Not(expr) | Self::Negate(expr) | Self::IsNull(expr) => expr.aggregates(),
            Self::Case(branches, otherwise) => {
                branches.iter().any(|(when, then)| when.aggregates() || then.aggregates())
                    || otherwise.as_ref().is_some_and(|expr| expr.aggregates())
            }
        }
    }

    /// The value over all rows that were kept: aggregates inside see every row, the rest sees the last one.
    fn over(&self, rows: &[Vec<Value>], facts: &Facts<'_>, parameters: &[Value]) -> Value {
        let over = |expr: &Self| expr.over(rows, facts, parameters);
        match self {
            Self::Aggregate(aggregate, inner) => {
                let values = rows
                    .iter()
                    .map(|cells| match inner {
                        None => Value::Int(1),
                        Some(expr) => expr.value(&Scope { facts, parameters, row: Row::Cells(cells) }),
                    })
                    .filter(|value| *value != Value::Null);
                aggregate.fold(values)
            }
            Self::Binary(operator, sides) => operator.apply(&over(&sides[0]), &over(&sides[1])),
            Self::Not(expr) => Value::bool(!over(expr).is_true()),
            Self::IsNull(expr) => Value::bool(over(expr) == Value::Null),
            Self::Call(function, list) => function.apply(&list.iter().map(over).collect::<Vec<_>>(), facts),
            other => {
                let row = rows.last().map_or(Row::Nothing, |cells| Row::Cells(cells));
                other.value(&Scope { facts, parameters, row })
            }
        }
    }

    fn value(&self, scope: &Scope<'_>) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Parameter(at) => scope.parameters.get(*at).cloned().unwrap_or(Value::Null),
            Self::Variable(variable) => (variable.get)(scope.facts),
            Self::Name(_) | Self::Aggregate(..) => Value::Null,
            Self::Column(at) => scope.row.get(*at),
            Self::Call(function, list) => {
                let values: Vec<Value> = list.iter().map(|expr| expr.value(scope)).collect();
                function.apply(&values, scope.facts)
            }
            Self::Binary(operator, sides) => {
                let left = sides[0].value(scope);
                match operator {
                    // The common filters are chains of these: stop early.
                    Operator::And if left != Value::Null && !left.is_true() => Value::Int(0),
                    Operator::Or if left.is_true() => Value::Int(1),
                    _ => operator.apply(&left, &sides[1].value(scope)),
                }
            }
            Self::Not(expr) => match expr.value(scope) {
                Value::Null => Value::Null,
                value => Value::bool(!value.is_true()),
            },
            Self::Negate(expr) => match expr.value(scope) {
                Value::Null => Value::Null,
                Value::Int(n) => Value::Int(-n),
                value => Value::Real(-value.as_number()),
            },
            Self::IsNull(expr) => Value::bool(expr.value(scope) == Value::Null),
            Self::In(expr, list) => {
                let wanted = expr.value(scope);
                Value::bool(list.iter().any(|expr| wanted.compare(&expr.value(scope)) == Some(Ordering::Equal)))
            }
            Self::Case(branches, otherwise) => branches
                .iter()
                .find(|(when, _)| when.value(scope).is_true())
                .map(|(_, then)| then)
                .or(otherwise.as_deref())
                .map_or(Value::Null, |expr| expr.value(scope)),
            Self::Subquery(select) => {
                let mut first = None;
                select.rows(scope.facts, scope.parameters, &mut |values| {
                    if first.is_none() {
                        first = values.first().cloned();
                    }
                });
                first.unwrap_or(Value::Null)
            }
        }
    }
}

impl Aggregate {
    fn fold(self, values: impl Iterator<Item = Value>) -> Value {
        match self {
            Self::Count => Value::Int(i64::try_from(values.count()).unwrap_or(i64::MAX)),
            Self::Max => {
                values.reduce(|a, b| if a.compare(&b) == Some(Ordering::Less) { b } else { a }).unwrap_or(Value::Null)
            }
            Self::Min => values
                .reduce(|a, b| if a.compare(&b) == Some(Ordering::Greater) { b } else { a })
                .unwrap_or(Value::Null),
            Self::Sum => values
                .map(|value| value.as_number())
                .reduce(|a, b| a + b)
                .map_or(Value::Null, |sum| Value::Decimal(format!("{sum}"))),
        }
    }
}

impl Operator {
    fn apply(self, left: &Value, right: &Value) -> Value {
        if self == Self::NullSafeEqual {
            let equal =
                if *left == Value::Null { *right == Value::Null } else { left.compare(right) == Some(Ordering::Equal) };
            return Value::bool(equal);
        }
        let is = |value: &Value, truth: bool| *value != Value::Null && value.is_true() == truth;
        match self {
            Self::And if is(left, false) || is(right, false) => return Value::Int(0),
            Self::Or if is(left, true) || is(right, true) => return Value::Int(1),
            _ if *left == Value::Null || *right == Value::Null => return Value::Null,
            _ => {}
        }
        let ordered =
            |test: fn(Ordering) -> bool| left.compare(right).map_or(Value::Null, |order| Value::bool(test(order)));
        match self {
            Self::And => Value::bool(left.is_true() && right.is_true()),
            Self::Or => Value::bool(left.is_true() || right.is_true()),
            Self::Equal | Self::NullSafeEqual => ordered(Ordering::is_eq),
            Self::Unequal => ordered(Ordering::is_ne),
            Self::Less => ordered(Ordering::is_lt),
            Self::LessOrEqual => ordered(Ordering::is_le),
            Self::Greater => ordered(Ordering::is_gt),
            Self::GreaterOrEqual => ordered(Ordering::is_ge),
            Self::Like => Value::bool(like(&left.as_text(), &right.as_text())),
            Self::Plus => arithmetic(left, right, i64::checked_add, |a, b| a + b),
            Self::Minus => arithmetic(left, right, i64::checked_sub, |a, b| a - b),
            Self::Times => arithmetic(left, right, i64::checked_mul, |a, b| a * b),
            Self::Divide if right.as_number() == 0.0 => Value::Null,
            Self::Divide => Value::Real(left.as_number() / right.as_number()),
        }
    }
}

fn arithmetic(left: &Value, right: &Value, whole: fn(i64, i64) -> Option<i64>, real: fn(f64, f64) -> f64) -> Value {
    let integer = |value: &Value| match value {
        Value::Int(n) => Some(*n),
        Value::UInt(n) => i64::try_from(*n).ok(),
        _ => None,
    };
    match (integer(left), integer(right)) {
        (Some(a), Some(b)) => whole(a, b).map_or(Value::Null, Value::Int),
        _ => Value::Real(real(left.as_number(), right.as_number())),
    }
}

/// `%` any text, `_` any character, `\` makes them plain; case does not count.
fn like(text: &str, pattern: &str) -> bool {
    fn matches(text: &[u8], pattern: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'%', rest)) => (0..=text.len()).any(|skip| matches(&text[skip..], rest)),
            Some((b'_', rest)) => text.split_first().is_some_and(|(_, text)| matches(text, rest)),
            Some((b'\\', rest)) if !rest.is_empty() => {
                text.first().is_some_and(|c| c.eq_ignore_ascii_case(&rest[0])) && matches(&text[1..], &rest[1..])
            }
            Some((wanted, rest)) => {
                text.first().is_some_and(|c| c.eq_ignore_ascii_case(wanted)) && matches(&text[1..], rest)
            }
        }
    }
    matches(text.as_bytes(), pattern.as_bytes())
}

impl Function {
    fn kind(self, arguments: &[Expr], select: &Select) -> Kind {
        match self {
            Self::Coalesce => arguments.iter().map(|expr| expr.kind(select)).fold(Kind::Null, Kind::or),
            Self::If => arguments.iter().skip(1).map(|expr| expr.kind(select)).fold(Kind::Null, Kind::or),
            Self::NullIf => arguments.first().map_or(Kind::Null, |expr| expr.kind(select)),
            Self::ConnectionId => Kind::UInt,
            Self::Length | Self::MicrosBetween | Self::ToNumber => Kind::Int,
            Self::Greatest => arguments.first().map_or(Kind::Null, |expr| expr.kind(select)),
            Self::Now(scale) => Kind::Time(scale),
            Self::UnixTimestamp => match arguments.first().map(|expr| expr.kind(select)) {
                Some(Kind::Time(scale)) if scale > 0 => Kind::Decimal(scale),
                _ => Kind::Int,
            },
            Self::Concat
            | Self::Database
            | Self::Left
            | Self::Lower
            | Self::Replace
            | Self::SubstringIndex
            | Self::ToText
            | Self::Upper
            | Self::User
            | Self::Version => Kind::Text(1024),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "CAST cuts off what does not fit")]
    fn apply(self, values: &[Value], facts: &Facts<'_>) -> Value {
        let text = |at: usize| values.get(at).map_or(Cow::Borrowed(""), Value::as_text);
        let number = |at: usize| values.get(at).map_or(0, |value| value.as_number() as i64);
        let strict = !matches!(self, Self::Coalesce | Self::If | Self::NullIf);
        if strict && values.contains(&Value::Null) {
            return Value::Null;
        }
        match self {
            Self::Coalesce => values.iter().find(|value| **value != Value::Null).cloned().unwrap_or(Value::Null),
            Self::If => values.get(if values[0].is_true() { 1 } else { 2 }).cloned().unwrap_or(Value::Null),
            Self::NullIf if values[0].compare(&values[1]) == Some(Ordering::Equal) => Value::Null,
            Self::NullIf => values[0].clone(),
            Self::Concat => Value::text(values.iter().map(Value::as_text).collect::<String>()),
            Self::ConnectionId => Value::UInt(u64::from(facts.connection_id)),
            Self::Database => Value::Null,
            Self::Left => {
                Value::text(text(0).chars().take(usize::try_from(number(1)).unwrap_or(0)).collect::<String>())
            }
            Self::Length => Value::Int(i64::try_from(text(0).len()).unwrap_or(i64::MAX)),
            Self::Greatest => Aggregate::Max.fold(values.iter().cloned()),
            Self::MicrosBetween => match values {
                [Value::Time(from), Value::Time(to)] => Value::Int(to - from),
                _ => Value::Null,
            },
            Self::Lower => Value::text(text(0).to_lowercase()),
            Self::Upper => Value::text(text(0).to_uppercase()),
            Self::Replace => Value::text(text(0).replace(&*text(1), &text(2))),
            Self::SubstringIndex => Value::text(substring_index(&text(0), &text(1), number(2))),
            Self::ToText => Value::text(text(0).into_owned()),
            Self::ToNumber => Value::Int(number(0)),
            Self::Now(_) => Value::Time(now_micros()),
            Self::UnixTimestamp => match values.first() {
                Some(Value::Time(micros)) => {
                    Value::Decimal(format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000))
                }
                _ => Value::Int(now_micros() / 1_000_000),
            },
            Self::User => Value::text(format!("{}@{}", facts.user, facts.peer)),
            Self::Version => Value::text(facts.server.version()),
        }
    }
}

fn substring_index(text: &str, delimiter: &str, count: i64) -> String {
    if delimiter.is_empty() || count == 0 {
        return String::new();
    }
    let parts: Vec<&str> = text.split(delimiter).collect();
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(parts.len());
    let range = if count > 0 { &parts[..wanted] } else { &parts[parts.len() - wanted..] };
    range.join(delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_mysql() {
        assert!(like("rpl_semi_sync_source_enabled", "rpl_semi_sync_%"));
        assert!(like("Uptime", "uptime"));
        assert!(!like("Uptime_since_flush_status", "Uptime"));
        assert!(like("a_b", "a\\_b") && !like("axb", "a\\_b"));
    }

    #[test]
    fn substrings_are_counted_from_either_end() {
        assert_eq!(substring_index("127.10.0.5", ".", 2), "127.10");
        assert_eq!(substring_index("127.10.0.5", ".", -1), "5");
    }
}
