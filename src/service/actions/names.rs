//! From what people type to the key of an instance.

use domain::instance::InstanceKey;

use super::{Error, Scope};

/// Reads an instance name; the configured default port where none is given. Neither resolved nor completed.
pub fn parse(scope: &Scope, text: &str) -> Result<InstanceKey, Error> {
    InstanceKey::parse(text, scope.config.settings.topology.default_instance_port).map_err(Error::invalid)
}

/// A key from host and port as given in a path.
pub fn parse_parts(host: &str, port: &str) -> Result<InstanceKey, Error> {
    let number = port.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let number = number.ok_or_else(|| {
        let shown: String = port.chars().take(40).collect();
        Error::Invalid(format!("Invalid port: {shown}"))
    })?;
    InstanceKey::reported(host, number).map_err(Error::invalid)
}

/// The key an operator means: parsed, its host resolved, then completed.
pub async fn instance(scope: &Scope, text: &str) -> Result<InstanceKey, Error> {
    understand(scope, parse(scope, text)?).await
}

/// The same without resolving the host: for what may not resolve any more.
pub async fn raw_instance(scope: &Scope, text: &str) -> Result<InstanceKey, Error> {
    complete(scope, parse(scope, text)?).await
}

/// Resolves the host of a key, then completes it.
pub async fn understand(scope: &Scope, key: InstanceKey) -> Result<InstanceKey, Error> {
    complete(scope, resolved(scope, key).await?).await
}

/// The name the host is known to go by, from the mappings that probes and workers have recorded.
pub async fn resolved(scope: &Scope, key: InstanceKey) -> Result<InstanceKey, Error> {
    let method = scope.config.settings.hostnames.hostname_resolve_method;
    if method == config::HostnameResolveMethod::None || key.is_detached() {
        return Ok(key);
    }
    let found = store::hostnames::resolved(&scope.pool, &key.hostname).await?;
    Ok(found.map_or_else(|| key.clone(), |hostname| InstanceKey::new(hostname, key.port)))
}

/// The one known instance whose host contains the text and whose port is equal, if there is exactly one; else the key
/// as it is. Addresses are never completed.
pub async fn complete(scope: &Scope, key: InstanceKey) -> Result<InstanceKey, Error> {
    if key.hostname.contains(':') {
        return Ok(key);
    }
    Ok(store::instances::complete(&scope.pool, &key).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers() {
        assert_eq!(parse_parts("db1", "3306").expect("key"), InstanceKey::new("db1", 3306));
        for port in ["", "x", "0", "70000", "-1"] {
            let error = parse_parts("db1", port).expect_err(port).to_string();
            assert!(error.starts_with("Invalid port: "), "{error}");
        }
        assert!(parse_parts("<b>", "1").is_err());
    }
}
