//! Where results and final errors go. Handed in, so that tests can read what a user would see.

use std::backtrace::Backtrace;
use std::io::{self, Write};

use time::UtcOffset;

use crate::logging::{error_line, fatal_line, one_line};
use crate::session::Said;

/// stdout and stderr of one run.
pub(crate) struct Io<'a> {
    pub(crate) out: &'a mut (dyn Write + Send),
    pub(crate) err: &'a mut (dyn Write + Send),
    pub(crate) offset: UtcOffset,
    pub(crate) stack: bool,
}

/// The reader of stdout has gone: it has what it wanted (`| head`), and nobody is to be told.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader of stdout has gone")
    }
}

impl std::error::Error for ReaderGone {}

impl Io<'_> {
    /// Writes a result to stdout.
    pub(crate) fn print(&mut self, text: &str) -> anyhow::Result<()> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
            Err(error) => Err(anyhow::Error::from(error).context("cannot write to stdout")),
        }
    }

    /// Says something on stderr. Nobody is left to tell if that fails.
    pub(crate) fn say(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }

    /// Hands on what a command said.
    pub(crate) fn tell(&mut self, said: &Said) {
        match said {
            Said::Progress(text) => self.say(&format!("{}\n", one_line(text))),
            Said::Complaint(text) => {
                let line = error_line(self.offset, text);
                self.say(&line);
            }
        }
    }

    /// The error that ends this run.
    pub(crate) fn fatal(&mut self, text: &str) {
        let mut line = fatal_line(self.offset, text);
        if self.stack {
            line = format!("{line}{}\n", Backtrace::force_capture());
        }
        self.say(&line);
    }
}
