//! One run of the program: from arguments to an exit status.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use config::{Environment, Loader};
use time::UtcOffset;
use tokio::sync::mpsc::Receiver;

use crate::answer::{Answer, Failed};
use crate::arguments::{self, Flags, Mistake, Request, split_instances};
use crate::catalogue::{self, Command, Run};
use crate::io::{Io, ReaderGone};
use crate::logging::{self, Logging};
use crate::session::{Base, Interrupt, Interrupted, Me, Said, Session, Talk};
use crate::{commands, exit};

/// Time for a command besides waiting for the backend.
const BESIDES: Duration = Duration::from_secs(30);

/// What surrounds a run besides its arguments.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) environment: Environment,
    pub(crate) me: Me,
    /// Zone of log lines.
    pub(crate) offset: UtcOffset,
    /// How to log; `None` leaves logging alone (tests).
    pub(crate) logging: Option<Logging>,
    /// What interrupts this run.
    pub(crate) interrupt: Interrupt,
}

/// Runs what `arguments` (without the program's name) ask for; answers the exit status.
pub(crate) async fn run(
    arguments: &[String],
    surroundings: Surroundings,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> u8 {
    let mut io = Io { out, err, offset: surroundings.offset, stack: false };
    let flags = match arguments::parse(arguments) {
        Ok(flags) => flags,
        Err(error) => {
            io.say(&error.0);
            return exit::USAGE;
        }
    };
    io.stack = flags.is_on("stack");
    let done = match arguments::request(&flags) {
        Ok(request) => Box::pin(perform(request, flags, surroundings, &mut io)).await,
        Err(Mistake(text)) => Err(anyhow::Error::msg(text)),
    };
    let Err(error) = done else { return exit::OK };
    if error.is::<ReaderGone>() {
        return exit::OK;
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        io.say(&format!("{interrupted}\n"));
        return interrupted.code;
    }
    io.fatal(&chain(&error));
    // What there is to choose from, as the original shows it.
    if error.is::<UnknownCommand>() {
        io.say(&catalogue::listing());
    }
    exit::FAILED
}

async fn perform(request: Request, flags: Flags, surroundings: Surroundings, io: &mut Io<'_>) -> anyhow::Result<()> {
    match request {
        Request::Usage => {
            io.say(&arguments::usage());
            Ok(())
        }
        Request::Version => io.print(&commands::meta::version().render(flags.is_on("json"))),
        // A listing is talk, as in the original; asked for as JSON it is data.
        Request::Help(None) if flags.is_on("json") => io.print(&format!("{}\n", catalogue::listing_as_json())),
        Request::Help(None) => {
            io.say(&catalogue::listing());
            Ok(())
        }
        Request::Help(Some(topic)) => io.print(&catalogue::explain(&topic).render(flags.is_on("json"))),
        Request::CheatSheet => {
            base(flags, Vec::new(), surroundings, false)?;
            io.print(commands::meta::CHEAT_SHEET)
        }
        Request::Run { command: word, words } => {
            let command = catalogue::find(&word).ok_or_else(|| UnknownCommand::new(&word))?;
            if let Some((flag, only)) = flags.foreign_to(command.name, catalogue::is_operational(command)) {
                anyhow::bail!("--{flag} has no meaning for {word}: it belongs to {}", only.join(", "));
            }
            let takes_words = commands::TAKE_WORDS.contains(&command.name);
            if let (Some(extra), false) = (words.first(), takes_words) {
                anyhow::bail!("{word} takes no argument, but {extra:?} was given; instances are given with -i");
            }
            let is_service = commands::LONG_RUNNING.contains(&command.name);
            let base = base(flags, words, surroundings, is_service)?;
            execute(command, &base, io).await
        }
    }
}

/// Reads the configuration and starts logging.
fn base(flags: Flags, words: Vec<String>, surroundings: Surroundings, is_service: bool) -> anyhow::Result<Base> {
    let file = flags.get("config").filter(|file| !file.is_empty()).map(std::path::PathBuf::from);
    let loader = Arc::new(Loader::new(file, surroundings.environment));
    let loaded = loader.load()?;
    if let Some(logging) = surroundings.logging {
        let level = logging::level(&flags, is_service, loaded.settings.general.debug);
        logging.install(level, flags.is_on("stack"));
    }
    for file in &loaded.files {
        tracing::info!("Read config: {}", file.display());
    }
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    Ok(Base { flags, words, loader, loaded, me: surroundings.me, interrupt: surroundings.interrupt })
}

async fn execute(command: &Command, base: &Base, io: &mut Io<'_>) -> anyhow::Result<()> {
    let given = base.flags.get("i");
    match command.run {
        Run::Later => anyhow::bail!("not built yet: {}", command.name),
        // A process that stays has nothing to answer when it ends.
        Run::Alone(run) if commands::LONG_RUNNING.contains(&command.name) => run(base).await.map(drop),
        Run::Alone(run) => print(base, io, run(base).await),
        Run::Whole(run) => {
            let session = Session::new(base, &base.connect().await?, given.map(str::to_owned), Talk::nowhere());
            print(base, io, in_time(base, run(&session)).await)
        }
        Run::Each(_) | Run::Patient(_) | Run::Operation(_) => {
            let instances: Vec<Option<&str>> = match given.map(split_instances) {
                None => vec![None],
                // Refused by the commands that would use it: scripts hand on empty values to those that do not.
                Some(pieces) if pieces.is_empty() => vec![Some("")],
                Some(pieces) => pieces.into_iter().map(Some).collect(),
            };
            let (talk, mut said) = Talk::new(base.flags.is_on("quiet"));
            let mut session = Session::new(base, &base.connect().await?, None, talk);
            for instance in instances {
                session.given = instance.map(str::to_owned);
                let done = attended(io, &mut said, one(command, &session)).await;
                print(base, io, done)?;
            }
            Ok(())
        }
    }
}

/// A command for one instance.
async fn one(command: &Command, session: &Session<'_>) -> anyhow::Result<Answer> {
    match command.run {
        Run::Each(run) => in_time(session.base, run(session)).await,
        Run::Patient(run) => run(session).await,
        // On the heap: it is large, and few commands need it.
        Run::Operation(prints) => Box::pin(commands::operations::run(session, command.name, prints)).await,
        Run::Alone(_) | Run::Whole(_) | Run::Later => anyhow::bail!("{} takes no instance", command.name),
    }
}

/// Hands on what a command says while it works, as it says it.
async fn attended(
    io: &mut Io<'_>,
    said: &mut Receiver<Said>,
    work: impl Future<Output = anyhow::Result<Answer>>,
) -> anyhow::Result<Answer> {
    let mut work = Box::pin(work);
    let done = loop {
        tokio::select! {
            biased;
            Some(one) = said.recv() => io.tell(&one),
            done = &mut work => break done,
        }
    };
    while let Ok(one) = said.try_recv() {
        io.tell(&one);
    }
    done
}

/// Prints an answer; also that of a failure which has one.
fn print(base: &Base, io: &mut Io<'_>, done: anyhow::Result<Answer>) -> anyhow::Result<()> {
    let as_json = base.flags.is_on("json");
    let error = match done {
        Ok(answer) => return io.print(&answer.render(as_json)),
        Err(error) => error,
    };
    if let Some(failed) = error.downcast_ref::<Failed>() {
        io.print(&failed.answer.render(as_json))?;
    }
    Err(error)
}

/// A backend that stops answering in the middle must not hold a crontab for ever: the longest wait for an answer, and
/// what a discovery may take besides.
async fn in_time(base: &Base, work: impl Future<Output = anyhow::Result<Answer>>) -> anyhow::Result<Answer> {
    let limit = Duration::from_secs(base.settings().backend.read_timeout_seconds) + BESIDES;
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(anyhow::anyhow!("the backend did not answer within {} s", limit.as_secs())))
}

/// The word is no command.
#[derive(Debug)]
struct UnknownCommand(String);

impl UnknownCommand {
    fn new(word: &str) -> Self {
        let shown: String = word.chars().take(80).collect();
        let hint = catalogue::nearest(word).map_or(String::new(), |near| format!("; did you mean {near}?"));
        Self(format!("Unknown command: \"{shown}\"{hint}"))
    }
}

impl std::fmt::Display for UnknownCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownCommand {}

/// An error and its causes, each said once.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
