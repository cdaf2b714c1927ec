//! Who may become primary: the rule that people give an instance.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How willingly an instance is promoted. Ordered from best to worst, so that the smaller is the better candidate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromotionRule {
    /// Reserved: it is understood where it is stored, but nobody may register it.
    Must,
    Prefer,
    /// What holds for an instance nobody has said anything about.
    #[default]
    Neutral,
    /// Only when nothing better is left.
    PreferNot,
    /// Never, whatever is lost by it.
    MustNot,
}

/// A word that is no promotion rule, or not one to be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromotionRuleError {
    #[error("unknown promotion rule {0:?}; known are must, prefer, neutral, prefer_not, must_not")]
    Unknown(String),
    #[error("promotion rule must cannot be registered; use prefer, neutral, prefer_not or must_not")]
    NotRegistrable,
}

/// Longest part of a bad word that an error repeats.
const SHOWN_CHARS: usize = 40;

impl PromotionRule {
    /// Every rule, best first.
    pub const ALL: [Self; 5] = [Self::Must, Self::Prefer, Self::Neutral, Self::PreferNot, Self::MustNot];

    /// The word in configuration, on the command line, in the API and in storage.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Prefer => "prefer",
            Self::Neutral => "neutral",
            Self::PreferNot => "prefer_not",
            Self::MustNot => "must_not",
        }
    }

    /// Reads a rule that somebody wants to register, by hand or through `DetectPromotionRuleQuery`: any but `must`.
    pub fn parse_registrable(word: &str) -> Result<Self, PromotionRuleError> {
        let rule: Self = word.parse()?;
        if rule.is_registrable() { Ok(rule) } else { Err(PromotionRuleError::NotRegistrable) }
    }

    pub const fn is_registrable(self) -> bool {
        !matches!(self, Self::Must)
    }

    /// Somebody asked for this instance to be promoted.
    pub const fn is_candidate(self) -> bool {
        matches!(self, Self::Must | Self::Prefer)
    }

    /// Promotion is forbidden.
    pub const fn is_banned(self) -> bool {
        matches!(self, Self::MustNot)
    }
}

impl fmt::Display for PromotionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PromotionRule {
    type Err = PromotionRuleError;

    fn from_str(word: &str) -> Result<Self, PromotionRuleError> {
        let unknown = || PromotionRuleError::Unknown(word.chars().take(SHOWN_CHARS).collect());
        Self::ALL.into_iter().find(|rule| rule.name() == word).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_printed_and_stored_alike() {
        for rule in PromotionRule::ALL {
            assert_eq!(rule.to_string().parse::<PromotionRule>(), Ok(rule));
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{rule}\""));
        }
        for bad in ["", "Prefer", "prefer-not", "must not", " prefer", "x\n"] {
            assert_eq!(bad.parse::<PromotionRule>(), Err(PromotionRuleError::Unknown(bad.to_owned())));
        }
        let long = "x".repeat(1000).parse::<PromotionRule>().unwrap_err();
        assert!(long.to_string().len() < 150);
    }

    #[test]
    fn must_is_understood_but_not_registered() {
        assert_eq!(PromotionRule::parse_registrable("must"), Err(PromotionRuleError::NotRegistrable));
        for word in ["prefer", "neutral", "prefer_not", "must_not"] {
            assert_eq!(PromotionRule::parse_registrable(word).unwrap().name(), word);
        }
    }

    #[test]
    fn better_rules_come_first() {
        assert!(PromotionRule::ALL.is_sorted());
        assert_eq!(PromotionRule::default(), PromotionRule::Neutral);
        let candidates: Vec<_> = PromotionRule::ALL.into_iter().filter(|rule| rule.is_candidate()).collect();
        assert_eq!(candidates, [PromotionRule::Must, PromotionRule::Prefer]);
        assert_eq!(PromotionRule::ALL.into_iter().filter(|rule| rule.is_banned()).count(), 1);
    }
}
