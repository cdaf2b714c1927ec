//! Initialised data directories, made once per server version and copied for every server.
//!
//! Initialising takes seconds, copying a fraction of one. The template is built beside its final place under a lock
//! file and then renamed, so that a killed test run never leaves half a template behind.

use crate::accounts;
use crate::flavor::{Flavor, Program, find_program};
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies a template into `datadir`, which must not exist yet. Blocks: seconds the first time, then about 0.1 s.
pub(crate) fn copy_to(flavor: Flavor, program: &Program, datadir: &Path) -> Result<()> {
    let template = prepare(flavor, program)?;
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(datadir))
}

fn prepare(flavor: Flavor, program: &Program) -> Result<PathBuf> {
    let templates = workspace::directory("templates")?;
    let sql = accounts::setup_sql(flavor);
    let name = format!("{flavor}-{}-{:08x}", program.version, fingerprint(&sql));
    let template = templates.join(&name);
    if template.is_dir() {
        return Ok(template);
    }
    let lock =
        File::create(templates.join(format!("{name}.lock"))).context("cannot create the template's lock file")?;
    lock.lock().context("cannot lock the template")?;
    if template.is_dir() {
        return Ok(template);
    }
    let work = templates.join(format!("{name}.tmp"));
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir(&work)?;
    match flavor {
        Flavor::MySql => initialize_mysql(program, &work, &sql),
        Flavor::MariaDb => initialize_mariadb(program, &work, &sql),
    }
    .with_context(|| format!("cannot initialise a data directory with {}", program.path.display()))?;
    fs::rename(work.join("data"), &template)?;
    fs::remove_dir_all(&work)?;
    Ok(template)
}

fn initialize_mysql(program: &Program, work: &Path, sql: &str) -> Result<()> {
    let init_file = work.join("init.sql");
    fs::write(&init_file, sql)?;
    let data = work.join("data");
    let mut command = bounded(&program.path);
    command
        .args(["--no-defaults", "--initialize-insecure", "--skip-log-bin", "--performance-schema=OFF"])
        .args(["--innodb-buffer-pool-size=16M", "--innodb-redo-log-capacity=16M"])
        .arg(format!("--init-file={}", init_file.display()))
        .arg(format!("--datadir={}", data.display()));
    run(as_current_user(&mut command)?)?;
    // Holds the server's UUID, which must differ between servers; a new one is made at the first start.
    fs::remove_file(data.join("auto.cnf")).context("the initialised data directory has no auto.cnf")
}

fn initialize_mariadb(program: &Program, work: &Path, sql: &str) -> Result<()> {
    let install = find_program("mariadb-install-db")
        .context("mariadb-install-db not found; run scripts/install-servers --mariadb-only")?;
    let data = work.join("data");
    let mut command = bounded(&install);
    command
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
        // Without it the script insists that the machine's own name resolves.
        .arg("--force")
        .args(["--innodb-log-file-size=16M", "--skip-log-bin"])
        .arg(format!("--datadir={}", data.display()));
    run(as_current_user(&mut command)?)?;
    let init_file = work.join("init.sql");
    fs::write(&init_file, format!("{sql}SHUTDOWN;\n"))?;
    let mut command = bounded(&program.path);
    command
        .args(["--no-defaults", "--skip-networking", "--socket=template.sock", "--innodb-log-file-size=16M"])
        .arg(format!("--init-file={}", init_file.display()))
        .arg(format!("--datadir={}", data.display()));
    run(as_current_user(&mut command)?)
}

/// The servers refuse to run as root unless told to.
pub(crate) fn as_current_user(command: &mut Command) -> Result<&mut Command> {
    if workspace::user_id()? == 0 {
        command.arg("--user=root");
    }
    Ok(command)
}

/// An init file that fails leaves MariaDB running without having read its `SHUTDOWN`: never wait for ever.
fn bounded(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "90"]).arg(program);
    command
}

fn fingerprint(sql: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    sql.hash(&mut hasher);
    let hash = hasher.finish();
    u32::try_from(hash >> 32).unwrap_or_default()
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        // mariadb-install-db says what is wrong on its standard output.
        let log =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).trim_end().to_owned()).join("\n");
        bail!("{command:?} ended with {}: {}", output.status, log.trim());
    }
    Ok(())
}
