//! Users of this process: where they come from, who logs in as whom, and what a change of a user does
//! to its clients.
//!
//! A change is announced by the generation of [`Acl`]; a client looks its user up again before its
//! next request. What must not wait for one is done here: clients of a user that is gone are closed,
//! and those that listen to what their user may no longer hear. A client that begins to listen at
//! that moment looks at the generation afterwards.
//!
//! [`Acl`]: crate::acl::Acl

use std::sync::Arc;

use super::{Client, ClientHandle, Server};
use crate::acl::{Applied, FileError, User, UserError};
use crate::config::RewriteError;
use crate::pubsub::Kind;

/// Why the users of the configuration cannot be had; the text is what the log says.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// Both ways at once.
    #[error(
        "Configuring Redis with users defined in redis.conf and at the same setting an ACL file \
         path is invalid. This setup is very likely to lead to configuration errors and security \
         holes, please define either an ACL file or declare users directly in your redis.conf, but \
         not both."
    )]
    Twice,
    /// A `user` line is wrong.
    #[error("Error loading ACL rule for the user named '{name}': {error}")]
    Line {
        /// The user.
        name: String,
        /// What is wrong.
        error: UserError,
    },
    /// The file is wrong.
    #[error("Aborting Redis startup because of ACL errors: {0}")]
    File(FileError),
}

impl Server {
    /// Makes the users of the configuration: those of its `user` lines or of its `aclfile`.
    pub fn load_users(&self) -> Result<(), UsersError> {
        let config = self.config.read();
        let file = config.text("aclfile");
        if !file.is_empty() && !config.users().is_empty() {
            return Err(UsersError::Twice);
        }
        for line in config.users() {
            let (name, rules) = line.split_first().expect("a user line has a name");
            let declared =
                self.acl.declare(name.as_bytes(), rules.iter().map(|rule| rule.as_bytes()));
            let user = declared.map_err(|error| UsersError::Line { name: name.clone(), error })?;
            if !user.flags().enabled {
                tracing::info!(
                    "The user '{name}' is disabled (there is no 'on' modifier in the user \
                     description). Make sure this is not a configuration error."
                );
            }
        }
        if !file.is_empty() {
            self.acl.load(file).map_err(UsersError::File)?;
        }
        Ok(())
    }

    /// Replaces the configuration file by one with the values and users that are now in force; with
    /// `all`, values that are the default too. Users who have a file of their own are in no other.
    pub fn rewrite_config(&self, all: bool) -> Result<(), RewriteError> {
        let mut config = self.config.write();
        let mut users = Vec::new();
        if config.text("aclfile").is_empty() {
            for user in self.acl.users() {
                let line = String::from_utf8(user.print_line())
                    .map_err(|_| RewriteError::Failed("a user's rules are not UTF-8".to_owned()))?;
                users.push(line.split(' ').skip(1).map(str::to_owned).collect());
            }
        }
        config.set_users(users);
        if all { config.rewrite_all() } else { config.rewrite() }
    }

    /// Gives the default user the password of `requirepass`.
    pub(super) fn set_default_password(&self) {
        let config = self.config.read();
        self.acl.set_default_password(config.text("requirepass").as_bytes());
    }

    /// Makes `client` the user `name`, if the password is right; `false` if not.
    pub fn authenticate(&self, client: &mut Client, name: &[u8], password: &[u8]) -> bool {
        let Some(user) = self.acl.user(name).filter(|user| user.accepts(password)) else {
            return false;
        };
        client.log_in(self, user);
        client.catch_up_with_user(self)
    }

    /// Makes `client` the first of the users called so that there is and that is not disabled, without a
    /// password; its name.
    pub fn log_in_as_any<'a>(&self, client: &mut Client, names: &'a [String]) -> Option<&'a str> {
        let (name, user) = names.iter().find_map(|name| {
            let user = self.acl.user(name.as_bytes()).filter(|user| user.flags().enabled)?;
            Some((name, user))
        })?;
        client.log_in(self, user);
        client.catch_up_with_user(self).then_some(name)
    }

    /// Closes the clients that listen to what the user may not hear any more, but for the caller, who
    /// gets its reply first.
    pub fn end_listening(&self, applied: &Applied, caller: u64) {
        if let Some(before) = &applied.before {
            self.end_listening_of(before, &applied.after, caller);
        }
    }

    /// The same for a user that was `before`.
    pub fn end_listening_of(&self, before: &User, after: &User, caller: u64) {
        if self.pubsub.clients() == 0 {
            return;
        }
        let Some(left) = after.channels_left(before) else { return };
        for kind in Kind::ALL {
            let lost = |name: &[u8]| !left.cover(name, kind == Kind::Pattern);
            let ids = self.pubsub.listeners(kind, lost).into_iter().filter(|id| *id != caller);
            for client in ids.filter_map(|id| self.clients.get(id)) {
                if belongs(client.user(), after) {
                    client.kill();
                }
            }
        }
    }

    /// Closes the clients of a user that is gone, but for the caller.
    pub fn close_clients_of(&self, user: &User, caller: u64) {
        let is_other = |client: &Arc<ClientHandle>| client.id != caller;
        for client in self.clients.all().into_iter().filter(is_other) {
            if belongs(client.user(), user) {
                client.kill();
            }
        }
    }
}

fn belongs(of_client: Option<Arc<User>>, user: &User) -> bool {
    of_client.is_some_and(|own| own.is(user))
}
