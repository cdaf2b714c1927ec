//! Access tokens: a public half handed out on the command line, exchanged once for a secret half kept in a cookie.

use std::time::Duration;

use super::{Error, Record, Scope};

/// Issues a token for `owner`; returns its public half, to be exchanged within `AccessTokenUseExpirySeconds`.
pub async fn issue(scope: &Scope, owner: &str) -> Result<String, Error> {
    let mut tx = scope.begin().await?;
    let (public, secret) = (random_hex(), random_hex());
    store::access_tokens::create(&mut tx, &public, &secret, owner.trim()).await?;
    let message = format!("for {}", owner.trim());
    scope.commit_as(tx, &Record { kind: "access-token", message: &message, ..Record::default() }).await?;
    Ok(public)
}

/// Exchanges a public half for the secret one: once, and in time.
pub async fn acquire(scope: &Scope, public: &str) -> Result<String, Error> {
    let within = Duration::from_secs(scope.config.settings.auth.access_token_use_expiry_seconds);
    let mut conn = scope.connection().await?;
    let secret = store::access_tokens::acquire(&mut conn, public, within).await?;
    secret.ok_or_else(|| Error::NotFound("the access token is unknown, used or expired".to_owned()))
}

/// The owner of a token, if both halves are right and it has not expired.
pub async fn owner(scope: &Scope, public: &str, secret: &str) -> Result<Option<String>, Error> {
    let lifetime = Duration::from_secs(scope.config.settings.auth.access_token_expiry_minutes.saturating_mul(60));
    Ok(store::access_tokens::owner(&scope.pool, public, secret, lifetime).await?)
}

fn random_hex() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}
