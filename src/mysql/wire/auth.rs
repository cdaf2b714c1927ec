//! Proving who we are, by the method the server chooses (page "Authentication Method").
//!
//! The scrambles are `mysql_common`'s. Ours is which methods we consent to, and the one step that needs the server's RSA
//! key: the key comes from a stranger, so it is read by crate `rsa`, which checks each length and limits the size.

use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Error as PluginError};
use mysql_common::packets::AuthPlugin;
use rsa::pkcs8::DecodePublicKey;
use rsa::rand_core::OsRng;
use rsa::{Oaep, RsaPublicKey};
use sha1::Sha1;

use super::error::Error;

/// What asks for the server's public key: in `sha256_password`, in `caching_sha2_password`.
const KEY_REQUESTS: [&[u8]; 2] = [&[1], &[2]];

/// One method at work.
pub(super) struct Proof<'a> {
    password: &'a [u8],
    is_encrypted: bool,
    plugin: AuthPlugin<'static>,
    steps: AuthProc,
    nonce: Vec<u8>,
    /// The server's key comes next.
    awaits_key: bool,
}

impl<'a> Proof<'a> {
    /// A proof by the method that the server greets with; by the oldest that is still safe if we do not have that one,
    /// because the account decides in the end, and the server then tells us what it wants.
    pub(super) fn greeted(
        plugin: Option<AuthPlugin<'_>>,
        nonce: Vec<u8>,
        password: &'a [u8],
        is_encrypted: bool,
    ) -> Result<Self, Error> {
        let plugin = match plugin {
            Some(
                plugin @ (AuthPlugin::MysqlNativePassword
                | AuthPlugin::CachingSha2Password
                | AuthPlugin::Sha256Password
                | AuthPlugin::Ed25519),
            ) => plugin.into_owned(),
            _ => AuthPlugin::MysqlNativePassword,
        };
        Self::new(plugin, nonce, password, is_encrypted)
    }

    /// A proof by the method that the server demands.
    pub(super) fn demanded(
        plugin: &AuthPlugin<'_>,
        nonce: Vec<u8>,
        password: &'a [u8],
        is_encrypted: bool,
    ) -> Result<Self, Error> {
        let name = || crate::failure::shorten(String::from_utf8_lossy(plugin.as_bytes()).into_owned());
        match plugin {
            AuthPlugin::MysqlNativePassword
            | AuthPlugin::CachingSha2Password
            | AuthPlugin::Sha256Password
            | AuthPlugin::Ed25519 => {}
            AuthPlugin::MysqlClearPassword if is_encrypted => {}
            AuthPlugin::MysqlClearPassword => {
                return Err(Error::LoginNeedsTls("the server asks for the password in clear text".to_owned()));
            }
            AuthPlugin::MysqlOldPassword | AuthPlugin::Parsec | AuthPlugin::Other(_) => {
                return Err(Error::Login(format!("the account's login method {:?} is not supported", name())));
            }
        }
        Self::new(plugin.borrow().into_owned(), nonce, password, is_encrypted)
    }

    fn new(plugin: AuthPlugin<'static>, nonce: Vec<u8>, password: &'a [u8], is_encrypted: bool) -> Result<Self, Error> {
        let steps = plugin.init().map_err(|error| Error::Login(error.to_string()))?;
        Ok(Self { password, is_encrypted, plugin, steps, nonce, awaits_key: false })
    }

    pub(super) fn plugin(&self) -> AuthPlugin<'static> {
        self.plugin.clone()
    }

    /// The answer to the nonce.
    pub(super) fn first(&mut self) -> Result<Vec<u8>, Error> {
        let nonce = self.nonce.clone();
        Ok(self.step(&nonce)?.unwrap_or_default())
    }

    /// The answer to more data; `None` if none is wanted.
    pub(super) fn more(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if std::mem::take(&mut self.awaits_key) {
            return encrypt(self.password, &self.nonce, data).map(Some);
        }
        self.step(data)
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let known = Known { password: self.password, is_encrypted: self.is_encrypted, nonce: &self.nonce };
        let response = self.steps.run(known, challenge).map_err(|error| self.misunderstood(&error))?;
        let answer = response.data().map(<[u8]>::to_vec);
        let is_sha2 = matches!(self.plugin, AuthPlugin::CachingSha2Password | AuthPlugin::Sha256Password);
        self.awaits_key = is_sha2 && answer.as_deref().is_some_and(|answer| KEY_REQUESTS.contains(&answer));
        Ok(answer)
    }

    fn misunderstood(&self, error: &PluginError) -> Error {
        Error::protocol(format!("login by {:?}: {error}", String::from_utf8_lossy(self.plugin.as_bytes())))
    }
}

/// The password, masked by the nonce, for the holder of the key that the server sent.
fn encrypt(password: &[u8], nonce: &[u8], key: &[u8]) -> Result<Vec<u8>, Error> {
    let unusable = |why: String| Error::protocol(format!("the server's public key is unusable: {why}"));
    let text = std::str::from_utf8(key).map_err(|error| unusable(error.to_string()))?;
    let key = RsaPublicKey::from_public_key_pem(text.trim_end_matches('\0')).map_err(|e| unusable(e.to_string()))?;
    let mut masked: Vec<u8> = password.iter().copied().chain([0]).collect();
    for (byte, mask) in masked.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
    key.encrypt(&mut OsRng, Oaep::new::<Sha1>(), &masked).map_err(|error| unusable(error.to_string()))
}

/// What a method may know.
struct Known<'a> {
    password: &'a [u8],
    is_encrypted: bool,
    nonce: &'a [u8],
}

impl Context for Known<'_> {
    fn pass(&self) -> &[u8] {
        self.password
    }

    fn is_ipc_transport(&self) -> bool {
        false
    }

    fn is_tls_transport(&self) -> bool {
        self.is_encrypted
    }

    fn scramble(&self) -> &[u8] {
        self.nonce
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_makes_us_panic() {
        let good = "-----BEGIN PUBLIC KEY-----\n";
        for key in ["", good, "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n", "\0\0", "-----BEGIN RSA"]
        {
            assert!(matches!(encrypt(b"p", b"n", key.as_bytes()), Err(Error::Protocol(_))), "{key:?}");
        }
        assert!(encrypt(b"p", b"n", &[0xff, 0xfe]).is_err());
    }

    #[test]
    fn a_password_in_clear_needs_tls_and_strange_methods_are_refused() {
        let demanded = |plugin: &AuthPlugin<'_>, is_encrypted| {
            Proof::demanded(plugin, vec![7; 20], b"secret", is_encrypted).and_then(|mut proof| proof.first())
        };
        let clear = AuthPlugin::MysqlClearPassword;
        assert!(matches!(demanded(&clear, false), Err(Error::LoginNeedsTls(_))));
        assert_eq!(demanded(&clear, true).ok(), Some(b"secret\0".to_vec()));
        for plugin in [AuthPlugin::MysqlOldPassword, AuthPlugin::from_bytes(b"auth_gssapi_client")] {
            assert!(matches!(demanded(&plugin, true), Err(Error::Login(_))), "{plugin:?}");
        }
        // Nor may a greeting talk us into it.
        let greeted = Proof::greeted(Some(clear), vec![7; 20], b"secret", false).expect("another method");
        assert_eq!(greeted.plugin(), AuthPlugin::MysqlNativePassword);
    }
}
