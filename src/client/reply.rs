//! What a service answered.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::problem::Problem;

/// A reply that is no error.
#[derive(Debug)]
pub(crate) struct Reply {
    /// What it says to people; empty for data without an envelope.
    pub(crate) message: String,
    /// The data as JSON: the details of an envelope, or all there is.
    pub(crate) data: Box<RawValue>,
    /// All of it, on one line.
    pub(crate) body: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "Message", default)]
    message: String,
    #[serde(rename = "Details")]
    details: Option<Box<RawValue>>,
}

/// Tells data from refusals; `None` for what is not JSON and so comes from something else than the service.
pub(crate) fn read(status: u16, is_problem: bool, body: &str) -> Option<Result<Reply, Problem>> {
    let whole: Box<RawValue> = serde_json::from_str(body).ok()?;
    let body = one_line(body);
    if is_problem && let Ok(problem) = serde_json::from_str::<api::v2::Problem>(&body) {
        let message = problem.detail.unwrap_or(problem.title);
        return Some(Err(Problem::Refused { message, details: None, body }));
    }
    let envelope = serde_json::from_str::<Envelope>(&body).ok();
    let Some((code, envelope)) = envelope.and_then(|mut envelope| Some((envelope.code.take()?, envelope))) else {
        return Some(Ok(Reply { message: String::new(), data: whole, body }));
    };
    if code.contains("ERROR") {
        let details = envelope.details.map(|details| details.get().to_owned());
        let message = collapsed(&envelope.message);
        let message = if message.is_empty() { format!("the service answered an error ({status})") } else { message };
        return Some(Err(Problem::Refused { message, details, body }));
    }
    let data = envelope.details.unwrap_or_else(|| RawValue::NULL.to_owned());
    Some(Ok(Reply { message: envelope.message, data, body }))
}

/// JSON has no line ends inside its strings.
fn one_line(body: &str) -> String {
    body.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Runs of white space become one blank, so that scripts can search in the text.
pub(crate) fn collapsed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Reply {
    /// The data as a type of the API.
    pub(crate) fn as_one<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_str(self.data.get()).map_err(|error| self.unexpected(&error.to_string()))
    }

    /// The data as a list; the original answers some empty lists as null.
    pub(crate) fn as_list<T: DeserializeOwned>(&self) -> Result<Vec<T>, Problem> {
        Ok(self.as_one::<Option<Vec<T>>>()?.unwrap_or_default())
    }

    /// A reply without the data that the command is for.
    pub(crate) fn unexpected(&self, why: &str) -> Problem {
        match self.message.as_str() {
            "" => Problem::Unanswered(format!("the service answered something unexpected: {why}")),
            message => Problem::Unanswered(format!("{}: {why}", collapsed(message))),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A reply from its text.
    pub(crate) fn reply(body: &str) -> Reply {
        read(200, false, body).expect("JSON").expect("no error")
    }

    #[test]
    fn envelopes_and_bare_data_are_told_apart() {
        let one = reply("{\"Code\":\"OK\",\"Message\":\"done\",\"Details\":{\"b\":1,\"a\":[ 2 ]}}");
        assert_eq!((one.message.as_str(), one.data.get()), ("done", "{\"b\":1,\"a\":[ 2 ]}"));
        assert_eq!(reply("[1,\n  2]").body, "[1, 2]");
        assert_eq!(reply("\"OK\"").data.get(), "\"OK\"");
        assert_eq!(reply("{\"Key\":{\"Hostname\":\"a\"}}").data.get(), "{\"Key\":{\"Hostname\":\"a\"}}");
        assert_eq!(reply("{\"Code\":\"OK\",\"Message\":\"done\",\"Details\":null}").data.get(), "null");
        assert!(read(404, false, "404 page not found").is_none());
        assert!(read(200, false, "").is_none());
    }

    #[test]
    fn refusals_keep_their_words() {
        let body = "{\"Code\":\"ERROR\",\"Message\":\"cannot  move 'db1':\\n lag\",\"Details\":{\"Port\":1}}";
        let Some(Err(Problem::Refused { message, details, .. })) = read(500, false, body) else { panic!("an error") };
        assert_eq!((message.as_str(), details.as_deref()), ("cannot move 'db1': lag", Some("{\"Port\":1}")));
        let problem = "{\"type\":\"x\",\"title\":\"Not found\",\"status\":404,\"detail\":\"no job 7\"}";
        let refused = read(404, true, problem).expect("JSON").expect_err("a problem");
        assert_eq!(refused.to_string(), "no job 7");
    }

    #[test]
    fn null_is_an_empty_list() {
        assert_eq!(reply("null").as_list::<String>().expect("a list"), Vec::<String>::new());
        assert!(reply("{\"Code\":\"OK\",\"Message\":\"No such\",\"Details\":null}").as_one::<String>().is_err());
    }
}
