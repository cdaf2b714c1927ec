//! Processes that stay, and the schema they need.

use super::alone;
use crate::catalogue::Command;
use crate::process;

const SECTION: &str = "Processes";

pub(crate) const COMMANDS: &[Command] = &[
    alone!(
        SECTION,
        "http",
        process::http,
        "Run the service: API, web page, leadership, built-in worker",
        "Runs the service until a signal. It answers the API and the web page on ListenAddress, takes part in the election\n\
         of the leader, and runs a worker unless --no-worker is given.\n\n\
         \x20 --no-worker           leave the work to `orchestrator worker` processes\n\
         \x20 --datacenter DC       serve this datacenter's lanes only (repeatable)\n\
         \x20 --concurrency N       jobs of the built-in worker at once\n\
         \x20 --discovery=false     only answer requests: no election, no worker\n\n\
         SIGTERM or SIGINT: finish what was begun, release leadership, exit 0; a second one stops at once with exit 1.\n\
         SIGHUP: reload the configuration. The log level is INFO unless told otherwise."
    ),
    alone!(
        SECTION,
        "worker",
        process::worker,
        "Run a worker, which probes servers and runs other jobs",
        "Runs jobs until a signal. Any number of workers may run anywhere; more of them probe more servers.\n\n\
         \x20 --datacenter DC       serve this datacenter's lanes only (repeatable); without it all lanes. Lanes that no\n\
         \x20                       live worker serves are served by everyone\n\
         \x20 --concurrency N       jobs at once\n\n\
         Waits for the backend as long as it takes. Signals as with `http`."
    ),
    alone!(
        SECTION,
        "migrate",
        process::migrate,
        "Bring the backend's schema up to this program's version",
        "Applies missing migrations to the backend's schema and tells its version. The service and the worker do the same\n\
         at start, unless SkipOrchestratorDatabaseUpdate is set.\n\n\
         \x20 --repair              continue after a migration that stopped half-way"
    ),
    alone!(
        "Meta, internal",
        "redeploy-internal-db",
        process::redeploy,
        "Bring the backend's schema up to date; see migrate",
        "The older name of `migrate`."
    ),
];
