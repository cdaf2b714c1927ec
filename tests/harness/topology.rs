//! Several servers replicating from one another, described by indented text.

use crate::flavor::Flavor;
use crate::options::{Options, SemiSync};
use crate::replication::{Link, replicate};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::ops::Index;
use std::time::Duration;

/// Servers started at the same time. More only fight for the processor.
const PARALLEL_STARTS: usize = 6;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(24 * 3_600);

/// One server of a topology to be.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub source: Option<String>,
    pub options: Options,
    pub link: Link,
}

/// Running servers by name. Dropping it ends them all.
#[derive(Debug)]
pub struct Topology {
    pub flavor: Flavor,
    pub servers: Vec<(String, Server)>,
}

impl Topology {
    /// Starts what the text describes (see [`parse`]) and waits until replication runs everywhere.
    pub async fn start(flavor: Flavor, text: &str) -> Result<Topology> {
        Topology::start_members(flavor, &parse(text)?).await
    }

    /// The same with lossless semi-sync all over, whatever the text says of it: see [`lossless`].
    pub async fn start_lossless(flavor: Flavor, text: &str) -> Result<Topology> {
        let mut members = parse(text)?;
        lossless(&mut members);
        Topology::start_members(flavor, &members).await
    }

    pub async fn start_members(flavor: Flavor, members: &[Member]) -> Result<Topology> {
        let start = |member: &Member| {
            let (name, options) = (member.name.clone(), member.options.clone());
            async move { Server::start_with(flavor, options).await.map(|server| (name, server)) }
        };
        let starting: Vec<_> = members.iter().map(start).collect();
        let servers = stream::iter(starting).buffered(PARALLEL_STARTS).try_collect().await?;
        let topology = Topology { flavor, servers };
        let links = members.iter().filter_map(|member| Some((member, member.source.as_deref()?)));
        futures::future::try_join_all(links.map(|(member, source)| topology.link(&member.name, source, member.link)))
            .await?;
        Ok(topology)
    }

    pub fn get(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|(other, _)| other == name).map(|(_, server)| server)
    }

    /// The name of the server with this port.
    pub fn name_of(&self, port: u16) -> Option<&str> {
        self.servers.iter().find(|(_, server)| server.port() == port).map(|(name, _)| name.as_str())
    }

    /// A text with names for addresses.
    pub fn named(&self, text: &str) -> String {
        self.servers.iter().fold(text.to_owned(), |text, (name, server)| text.replace(&server.address(), name))
    }

    /// Makes one member follow another.
    pub async fn link(&self, replica: &str, source: &str, link: Link) -> Result<()> {
        let find = |name: &str| self.get(name).with_context(|| format!("no server named {name:?} in this topology"));
        replicate(find(replica)?, find(source)?, link)
            .await
            .with_context(|| format!("{replica} cannot follow {source}"))
    }
}

impl Index<&str> for Topology {
    type Output = Server;

    /// For tests, which know their names; [`Topology::get`] is for everyone else.
    fn index(&self, name: &str) -> &Server {
        self.get(name).expect("a name of this topology")
    }
}

/// Nothing is acknowledged that no replica has: primaries wait for one of their replicas, for ever if need be. A replica can
/// take the place of its primary: it only has to be told that it is a source.
pub fn lossless(members: &mut [Member]) {
    for member in members {
        let role = if member.source.is_none() { SemiSync::Source } else { SemiSync::Replica };
        member.options.semi_sync = role;
        member.options.semi_sync_timeout = Some(FOR_EVER);
    }
}

/// Reads one server per line; a deeper line replicates from the nearest shallower line above it. Words after the name:
///
/// | Word | Meaning |
/// |---|---|
/// | `source=NAME` | replicates from NAME, wherever that stands (co-primaries, rings) |
/// | `delay=SECONDS` | a delayed replica |
/// | `semisync=loaded\|source\|replica\|both` | semi-synchronous roles |
/// | `writable`, `read_only` | replicas are `read_only` unless they say otherwise, primaries are not |
/// | `super_read_only` | MySQL only |
/// | `no_binlog`, `no_log_updates`, `no_gtid`, `no_tls` | leaves that out |
/// | `--server-option=...` | handed to the server as it is |
pub fn parse(text: &str) -> Result<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        above.retain(|(other, _)| *other < depth);
        let source = above.last().map(|(_, name)| name.clone());
        let member = parse_member(line, source).with_context(|| format!("in topology line {:?}", line.trim()))?;
        if members.iter().any(|other| other.name == member.name) {
            bail!("two servers are named {:?}", member.name);
        }
        above.push((depth, member.name.clone()));
        members.push(member);
    }
    for source in members.iter().filter_map(|member| member.source.as_deref()) {
        if !members.iter().any(|member| member.name == source) {
            bail!("no server named {source:?} to replicate from");
        }
    }
    Ok(members)
}

fn parse_member(line: &str, source: Option<String>) -> Result<Member> {
    let mut words = line.split_whitespace();
    let name = words.next().context("an empty line")?.to_owned();
    let options = Options { read_only: source.is_some(), ..Options::default() };
    let mut member = Member { name, source, options, link: Link::default() };
    for word in words {
        parse_word(&mut member, word)?;
    }
    Ok(member)
}

fn parse_word(member: &mut Member, word: &str) -> Result<()> {
    if word.starts_with("--") {
        member.options.extra_args.push(word.to_owned());
        return Ok(());
    }
    match word.split_once('=').unwrap_or((word, "")) {
        ("source", name) => member.source = Some(name.to_owned()),
        ("delay", seconds) => member.link.delay_seconds = seconds.parse().context("delay needs seconds")?,
        ("semisync", role) => member.options.semi_sync = parse_semi_sync(role)?,
        ("writable", "") => member.options.read_only = false,
        ("read_only", "") => member.options.read_only = true,
        ("super_read_only", "") => member.options.extra_args.push("--super-read-only=ON".to_owned()),
        ("no_binlog", "") => member.options.log_bin = false,
        ("no_log_updates", "") => member.options.log_replica_updates = false,
        ("no_gtid", "") => member.options.gtid = false,
        ("no_tls", "") => member.options.tls = false,
        _ => bail!("unknown word {word:?}"),
    }
    Ok(())
}

fn parse_semi_sync(role: &str) -> Result<SemiSync> {
    Ok(match role {
        "loaded" => SemiSync::Loaded,
        "source" => SemiSync::Source,
        "replica" => SemiSync::Replica,
        "both" => SemiSync::Both,
        _ => bail!("unknown semisync role {role:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, Option<&str>)]) {
        let members = parse(text).unwrap();
        let links: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.source.as_deref())).collect();
        assert_eq!(links, expected);
    }

    #[test]
    fn indentation_says_who_follows_whom() {
        check(
            "
            a
              b
                c
              d
            e
            ",
            &[("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("a")), ("e", None)],
        );
    }

    #[test]
    fn co_primaries_name_each_other() {
        check("a source=b\nb source=a writable", &[("a", Some("b")), ("b", Some("a"))]);
    }

    #[test]
    fn words_set_options() {
        let members = parse("a semisync=source\n b delay=60 --sync-relay-log=1\n c writable").unwrap();
        assert_eq!(members[0].options.semi_sync, SemiSync::Source);
        assert!(!members[0].options.read_only && members[1].options.read_only && !members[2].options.read_only);
        assert_eq!(members[1].link.delay_seconds, 60);
        assert_eq!(members[1].options.extra_args, ["--sync-relay-log=1"]);
    }

    #[test]
    fn mistakes_are_refused() {
        for (text, complaint) in [
            ("a\n b\n b", "two servers are named \"b\""),
            ("a source=z", "no server named \"z\""),
            ("a fast", "unknown word \"fast\""),
            ("a delay=soon", "delay needs seconds"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(complaint), "{error}");
        }
    }
}
