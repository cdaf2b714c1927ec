//! Statements that change a server.

use super::super::SqlError;
use super::super::lexer::Token;
use super::Parser;
use crate::change::{Change, Threads};
use crate::role::Switch;
use crate::server::Dialect;
use crate::variables;

impl Parser<'_> {
    /// After SET. `None`: accepted without effect, as everything is but the switches of [`switch`].
    pub(super) fn set(&mut self) -> Result<Option<Change>, SqlError> {
        if !self.word("GLOBAL") {
            return Ok(None);
        }
        let start = self.at;
        let mut switches = Vec::new();
        loop {
            let name = self.name()?;
            if variables::find(self.dialect, &name).is_none() {
                return Err(SqlError::new(1193, "HY000", format!("Unknown system variable '{name}'")));
            }
            if !self.mark("=") {
                return Err(self.syntax());
            }
            let value = self.next();
            if let Some(switch) = switch(&name) {
                switches.push((switch, on(value.as_ref()).ok_or_else(|| self.syntax_from(start))?));
            }
            if !self.mark(",") {
                break;
            }
        }
        self.end()?;
        Ok(Some(Change::Set(switches)))
    }

    /// `REPLICA` or `SLAVE`, as the dialect wants it.
    pub(super) fn replica_word(&mut self) -> bool {
        self.word("REPLICA") || (self.dialect == Dialect::MariaDb && self.word("SLAVE"))
    }

    /// After `START REPLICA` and `STOP REPLICA`.
    pub(super) fn threads(&mut self) -> Result<Threads, SqlError> {
        let receiver = self.word("IO_THREAD");
        let _ = self.mark(",");
        let applier = self.word("SQL_THREAD");
        self.channel()?;
        let both = !receiver && !applier;
        Ok(Threads { receiver: receiver || both, applier: applier || both })
    }

    /// After `RESET REPLICA`.
    pub(super) fn reset(&mut self) -> Result<Change, SqlError> {
        let all = self.word("ALL");
        self.channel()?;
        Ok(Change::Reset { all })
    }

    /// After CHANGE.
    pub(super) fn change(&mut self) -> Result<Change, SqlError> {
        let known = match self.dialect {
            Dialect::MySql => self.word("REPLICATION") && self.word("SOURCE") && self.word("TO"),
            Dialect::MariaDb => self.word("MASTER") && self.word("TO"),
        };
        if !known {
            return Err(self.syntax());
        }
        let (mut host, mut port) = (None, None);
        let mut of_applier = self.dialect == Dialect::MariaDb;
        loop {
            let option = self.name()?.to_ascii_uppercase();
            if !self.mark("=") {
                return Err(self.syntax());
            }
            let value = self.next().ok_or_else(|| self.syntax())?;
            match (option.trim_start_matches("SOURCE_").trim_start_matches("MASTER_"), value) {
                ("HOST", Token::Text(text)) => host = Some(text),
                ("PORT", Token::Number(digits)) => port = Some(digits.parse().map_err(|_| SqlError::syntax(&digits))?),
                ("HOST" | "PORT", _) => return Err(self.syntax()),
                ("AUTO_POSITION" | "DELAY" | "RELAY_LOG_FILE" | "RELAY_LOG_POS", _) => of_applier = true,
                _ => {}
            }
            if !self.mark(",") {
                break;
            }
        }
        self.channel()?;
        Ok(Change::Source { host, port, of_applier })
    }

    /// `FOR CHANNEL ''`, and the end.
    fn channel(&mut self) -> Result<(), SqlError> {
        if self.word("FOR")
            && !(self.word("CHANNEL") && matches!(self.next(), Some(Token::Text(name)) if name.is_empty()))
        {
            return Err(self.syntax());
        }
        self.end()
    }
}

fn switch(name: &str) -> Option<Switch> {
    Some(match name.to_ascii_lowercase().as_str() {
        "read_only" => Switch::ReadOnly,
        "super_read_only" => Switch::SuperReadOnly,
        "rpl_semi_sync_source_enabled" | "rpl_semi_sync_master_enabled" => Switch::SemiSyncSource,
        "rpl_semi_sync_replica_enabled" | "rpl_semi_sync_slave_enabled" => Switch::SemiSyncReplica,
        _ => return None,
    })
}

fn on(value: Option<&Token>) -> Option<bool> {
    match value? {
        Token::Word(word) | Token::Text(word) if word.eq_ignore_ascii_case("ON") => Some(true),
        Token::Word(word) | Token::Text(word) if word.eq_ignore_ascii_case("OFF") => Some(false),
        Token::Number(digits) => Some(digits != "0"),
        _ => None,
    }
}
