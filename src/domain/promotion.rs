//! Who may become primary, in the words of operators.

use std::fmt;
use std::str::FromStr;

/// How willingly an instance is promoted. Ordered from the most to the least wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PromotionRule {
    /// Promote this one or none.
    Must,
    /// Rather this one.
    Prefer,
    /// No opinion.
    #[default]
    Neutral,
    /// Rather another.
    PreferNot,
    /// Never.
    MustNot,
}

/// A text that is not a promotion rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown promotion rule {0:?}; write prefer, neutral, prefer_not or must_not")]
pub struct PromotionRuleError(String);

impl PromotionRule {
    /// The word kept in tables and shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Prefer => "prefer",
            Self::Neutral => "neutral",
            Self::PreferNot => "prefer_not",
            Self::MustNot => "must_not",
        }
    }

    /// Promoted willingly.
    pub fn is_candidate(self) -> bool {
        matches!(self, Self::Must | Self::Prefer)
    }

    /// Reads a rule that people or detection queries may register: all but `must`.
    pub fn parse_registrable(text: &str) -> Result<Self, PromotionRuleError> {
        match text.parse()? {
            Self::Must => Err(PromotionRuleError(text.to_owned())),
            rule => Ok(rule),
        }
    }
}

impl fmt::Display for PromotionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PromotionRule {
    type Err = PromotionRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Must, Self::Prefer, Self::Neutral, Self::PreferNot, Self::MustNot];
        all.into_iter()
            .find(|rule| rule.name() == text)
            .ok_or_else(|| PromotionRuleError(text.chars().filter(|c| !c.is_control()).take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_may_say_all_but_must() {
        for text in ["prefer", "neutral", "prefer_not", "must_not"] {
            assert_eq!(PromotionRule::parse_registrable(text).expect(text).to_string(), text);
        }
        for text in ["must", "", "PREFER", "x"] {
            assert!(PromotionRule::parse_registrable(text).is_err(), "{text}");
        }
        assert!(PromotionRule::Must.is_candidate() && !PromotionRule::Neutral.is_candidate());
    }
}
