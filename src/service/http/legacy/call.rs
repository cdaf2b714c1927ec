//! One request of the compatibility API, with its parameters as people mean them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use domain::instance::InstanceKey;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::super::reply::Reply;
use super::super::site::Site;
use crate::actions::{Error, Scope, clusters, duration, names};

/// What a handler answers.
pub(in crate::http) type Answer = Result<Reply, Error>;

/// A request whose caller may make it.
#[derive(Debug)]
pub(in crate::http) struct Call {
    pub(in crate::http) site: Arc<Site>,
    pub(in crate::http) scope: Scope,
    pub(in crate::http) params: Vec<(&'static str, String)>,
    pub(in crate::http) query: Vec<(String, String)>,
    pub(in crate::http) headers: HeaderMap,
}

impl Call {
    /// A parameter of the path, trimmed: clients send a line feed at the end of encoded texts. Empty when the pattern
    /// has none of that name.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.trim())
    }

    /// A parameter after the question mark.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A text given in the path, or else after the question mark: there it may contain slashes.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.param(name) {
            "" => self.query(name).unwrap_or_default().trim(),
            given => given,
        }
    }

    /// `:host/:port` as given.
    pub(super) fn given_key(&self) -> Result<InstanceKey, Error> {
        names::parse_parts(self.param("host"), self.param("port"))
    }

    /// `:host/:port` resolved and completed.
    pub(super) async fn key(&self) -> Result<InstanceKey, Error> {
        names::understand(&self.scope, self.given_key()?).await
    }

    /// `:belowHost/:belowPort` resolved and completed.
    pub(super) async fn below_key(&self) -> Result<InstanceKey, Error> {
        let key = names::parse_parts(self.param("belowHost"), self.param("belowPort"))?;
        names::understand(&self.scope, key).await
    }

    /// The cluster meant by `:clusterHint`, `:clusterName`, or by an instance of it.
    pub(super) async fn cluster(&self) -> Result<String, Error> {
        let hint = match (self.param("clusterHint"), self.param("clusterName")) {
            ("", "") => format!("{}:{}", self.param("host"), self.param("port")),
            ("", name) => name.to_owned(),
            (hint, _) => hint.to_owned(),
        };
        clusters::by_hint(&self.scope, &hint).await
    }

    /// `?operation=NUMBER`: what was asked for already is waited for.
    pub(super) fn operation(&self) -> Result<Option<u64>, Error> {
        let Some(text) = self.query("operation") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Error::Invalid(format!("an operation has a number, not {text:?}")))
    }

    /// `:page`: anything but a number is the first.
    pub(super) fn page(&self) -> u32 {
        let text = self.param("page");
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A page beyond all numbers is empty.
        text.parse().unwrap_or(if is_number { u32::MAX } else { 0 })
    }

    /// `:duration`, if given.
    pub(super) fn duration(&self) -> Result<Option<Duration>, Error> {
        match self.text("duration") {
            "" => Ok(None),
            text => duration::parse(text).map(Some),
        }
    }

    pub(super) fn envelope<T: Serialize>(&self, message: impl Into<String>, details: T) -> Answer {
        Ok(Reply::envelope(&self.site, message, details))
    }
}

/// `a=b&c=d`, decoded.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (decode(name), decode(value)),
            None => (decode(pair), String::new()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("tag=a%3Db+c&&x&y=%ff"), [pair("tag", "a=b c"), pair("x", ""), pair("y", "\u{fffd}")]);
    }
}
