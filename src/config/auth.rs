//! Section: who may use the API, and who may change things.

use crate::key::section;
use crate::secret::Secret;
use crate::value::{choice, list, text};

choice! {
    /// How a caller of the API is recognised.
    pub enum AuthMethod {
        /// Everybody may do everything.
        None = "" | "none",
        /// One user, who may do everything; nobody else gets in.
        Basic = "basic",
        /// That user may do everything, `readonly` may look.
        Multi = "multi",
        /// A proxy in front names the user in a header.
        Proxy = "proxy",
        /// A token acquired beforehand.
        Token = "token",
    }
}

section! {
    /// Authentication and authorisation.
    pub struct Auth in auth, "Authentication and authorisation";
    authentication_method: AuthMethod = AuthMethod::None => "AuthenticationMethod", Effective, Restart,
        "`\"\"` (none), `basic`, `multi`, `proxy` or `token`. `oauth` never worked and is refused.";
    http_auth_user: String = String::new() => "HTTPAuthUser", Effective, Restart,
        "User name for `basic` and `multi`; required there.";
    http_auth_password: Secret = Secret::default() => "HTTPAuthPassword", Effective, Restart,
        "Its password; required there.";
    auth_user_header: String = text("X-Forwarded-User") => "AuthUserHeader", Effective, Live,
        "With `proxy`: the request header that names the user.";
    power_auth_users: Vec<String> = list(&["*"]) => "PowerAuthUsers", Effective, Live,
        "With `proxy`: users who may make changes; `*` is everybody.";
    power_auth_groups: Vec<String> = Vec::new() => "PowerAuthGroups", Effective, Live,
        "With `proxy`: groups of the operating system whose members may make changes.";
    access_token_use_expiry_seconds: u64 = 60 => "AccessTokenUseExpirySeconds", Effective, Live,
        "Time within which an issued public token must be exchanged.";
    access_token_expiry_minutes: u64 = 1440 => "AccessTokenExpiryMinutes", Effective, Live,
        "Lifetime of an acquired token.";
    read_only: bool = false => "ReadOnly", Effective, Live, "Nobody may make changes over HTTP.";
    oauth_client_id: String = String::new() => "OAuthClientId", Unused("OAuth never worked"), Restart, "OAuth client.";
    oauth_client_secret: Secret = Secret::default() => "OAuthClientSecret", Unused("OAuth never worked"), Restart,
        "OAuth secret.";
    oauth_scopes: Vec<String> = Vec::new() => "OAuthScopes", Unused("OAuth never worked"), Restart, "OAuth scopes.";
}
