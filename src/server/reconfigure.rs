//! What changing a directive does.

use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::settings::OutputBound;
use super::{NotListening, Server, gate};
use crate::base::clock;
use crate::base::limits::BUFFER_MAX;
use crate::config::{Config, Effect, SetError};
use crate::keyspace::{AccessPolicy, EventClass, EventClasses};
use crate::observe::command_log::LogKind;
use crate::observe::log::LogSettings;
use crate::persist::rdb::Formats;

/// Logs which directives change nothing, because what they are about is not there; `before` has been
/// looked at already.
pub fn warn_unsupported(config: &Config, before: Option<&Config>) {
    let known = before.map_or_else(Vec::new, Config::unsupported);
    for (name, feature) in config.unsupported() {
        if !known.contains(&(name, feature)) {
            tracing::warn!("'{name}' is set, but {feature} is not supported yet: it has no effect");
        }
    }
}

impl Server {
    /// Takes all settings over from the configuration.
    pub fn reconfigure_all(&self) {
        self.fit_clients();
        let config = self.config.read();
        let size = |name: &str| usize::try_from(config.int(name)).unwrap_or(0);
        let settings = &self.settings;
        settings.bulk_max.store(config.int("proto-max-bulk-len").clamp(1, BUFFER_MAX), Relaxed);
        let query_max = size("client-query-buffer-limit").min(BUFFER_MAX as usize);
        settings.query_max.store(query_max, Relaxed);
        settings.idle_seconds.store(config.int("timeout"), Relaxed);
        settings.load_delay_us.store(config.int("key-load-delay"), Relaxed);
        settings.keepalive_seconds.store(config.int("tcp-keepalive"), Relaxed);
        settings.lazy_eviction.store(config.flag("lazyfree-lazy-eviction"), Relaxed);
        self.eviction.configure(&config);
        self.client_memory.configure(&config);
        let limited = config.int("maxmemory") > 0 || !config.db_limits().is_empty();
        self.set_gate(gate::MEMORY, limited);
        settings.latency_tracking.store(config.flag("latency-tracking"), Relaxed);
        self.set_logs(&config);
        self.acl.set_all_channels(config.text("acl-pubsub-default") == "allchannels");
        self.acl.set_log_len_max(size("acllog-max-len"));
        let failures_max = u32::try_from(config.int("auth-failures-per-minute")).unwrap_or(0);
        self.acl.set_failures_max(failures_max);
        settings.set_formats(Formats::of(&config));
        let [normal, _, subscriber] = config.output_limits().map(|limit| OutputBound {
            hard: usize::try_from(limit.hard_bytes).unwrap_or(usize::MAX),
            soft: usize::try_from(limit.soft_bytes).unwrap_or(usize::MAX),
            soft_seconds: i64::try_from(limit.soft_seconds).unwrap_or(i64::MAX),
        });
        settings.set_output(normal, subscriber);
        self.pubsub.set_hard_max(subscriber.hard);
        settings.set_busy_ms(u64::try_from(config.int("busy-reply-threshold")).unwrap_or(0));
        let events = EventClasses::parse(config.text("notify-keyspace-events"));
        settings.set_events(events);
        self.set_gate(gate::OBSERVED, events.any());
        let attentive = events.has(EventClass::Miss) || events.has(EventClass::New);
        self.set_gate(gate::ATTENTIVE, events.any() && attentive);
        self.tracking.set_keys_max(size("tracking-table-max-keys"));
        self.keyspace.limits().set_all(|name| config.int(name));
        let small = |name: &str| u16::try_from(config.int(name)).unwrap_or(u16::MAX);
        let limits = config.db_limits();
        let finer = config.int("maxmemory") > 0 || !limits.is_empty();
        let access = |policy: &str| AccessPolicy {
            lfu: policy.ends_with("-lfu"),
            lrm: policy.ends_with("-lrm"),
            finer: finer && (policy.ends_with("-lru") || policy.ends_with("-lrm")),
            log_factor: small("lfu-log-factor"),
            decay_minutes: small("lfu-decay-time"),
        };
        let own = |db| limits.iter().find(|limit| limit.db == db);
        self.keyspace.set_policy(access(config.text("maxmemory-policy")), |db| {
            own(db).and_then(|limit| limit.policy).map(access)
        });
        self.keyspace.set_db_limits(|db| own(db).map_or(0, |limit| limit.bytes));
        drop(config);
        self.account_clients();
        self.update_disk_gate();
    }

    /// Opens enough files for `maxclients`, which as in Redis becomes what the system allows for.
    fn fit_clients(&self) {
        let wanted = usize::try_from(self.config.read().int("maxclients")).unwrap_or(0);
        let possible = raise_open_files(wanted, self.threads());
        if possible < wanted {
            tracing::warn!(
                "maxclients is {possible} instead of {wanted}, because the system allows too few open \
                 files"
            );
            let possible = possible.to_string();
            if let Err(error) = self.config.write().set(&[(b"maxclients", possible.as_bytes())]) {
                tracing::warn!("{error}");
            }
        }
        self.settings.clients_max.store(possible, Relaxed);
    }

    fn set_logs(&self, config: &Config) {
        let bound = |threshold: &str, len_max: &str| {
            (config.int(threshold), usize::try_from(config.int(len_max)).unwrap_or(usize::MAX))
        };
        for (kind, (threshold, len_max)) in [
            (LogKind::Slow, bound("slowlog-log-slower-than", "slowlog-max-len")),
            (
                LogKind::LargeRequest,
                bound("commandlog-request-larger-than", "commandlog-large-request-max-len"),
            ),
            (
                LogKind::LargeReply,
                bound("commandlog-reply-larger-than", "commandlog-large-reply-max-len"),
            ),
        ] {
            self.command_log.set(kind, threshold, len_max);
        }
        let latency_ms = u64::try_from(config.int("latency-monitor-threshold")).unwrap_or(0);
        self.latency.set_threshold(latency_ms);
        self.refresh_thresholds();
    }

    /// Prepares what the hot path compares commands with.
    pub fn refresh_thresholds(&self) {
        let all = self.hot_sessions.is_active(clock::now_ms());
        self.thresholds.set(&self.command_log, self.latency.threshold_ms(), all);
    }

    /// Changes the configuration by `change` and carries out what follows; all or nothing. Returns
    /// whether a log is to be ended, which nobody may do who holds a shard.
    pub fn reconfigure(
        &self,
        change: impl FnOnce(&mut Config) -> Result<Vec<Effect>, SetError>,
    ) -> Result<bool, SetError> {
        // What fails is taken back whole, and nothing of another client's with it.
        let _alone = self.reconfiguring.lock();
        let (folder, before, effects, wanted) = {
            let mut config = self.config.write();
            let folder = std::env::current_dir();
            let before = config.clone();
            let effects = change(&mut config)?;
            if let Err(error) = self.carry_out(&config, &before, &effects) {
                *config = before;
                // It was possible before.
                let _ = self.adapt_process(&config);
                let _ = folder.and_then(std::env::set_current_dir);
                return Err(error);
            }
            warn_unsupported(&config, Some(&before));
            (folder, before, effects, config.flag("appendonly"))
        };
        let follow = || {
            self.reconfigure_all();
            if effects.contains(&Effect::RequirePass) {
                self.set_default_password();
            }
            self.reconfigure_appending();
        };
        follow();
        if before.flag("appendonly") == wanted {
            return Ok(false);
        }
        if wanted && let Err(error) = self.arc().switch_appending_on() {
            tracing::warn!("Unable to turn on AOF: {error}");
            let mut config = self.config.write();
            let failed = std::mem::replace(&mut *config, before);
            let _ = folder.and_then(std::env::set_current_dir);
            self.take_back(&config, &failed, &effects);
            drop(config);
            follow();
            return Err(SetError::refused(
                "appendonly",
                "Unable to turn on AOF. Check server logs.",
            ));
        }
        Ok(!wanted && self.switch_appending_off())
    }

    fn carry_out(
        &self,
        config: &Config,
        before: &Config,
        effects: &[Effect],
    ) -> Result<(), SetError> {
        let has = |effect| effects.contains(&effect);
        if has(Effect::MaxClients) {
            let wanted = usize::try_from(config.int("maxclients")).unwrap_or(usize::MAX);
            let possible = raise_open_files(wanted, self.threads());
            if possible < wanted {
                let reason = format!(
                    "The operating system is not able to handle the specified number of clients, \
                     try with {possible}"
                );
                return Err(SetError::refused("maxclients", reason));
            }
        }
        if has(Effect::Dir) {
            std::env::set_current_dir(config.text("dir"))
                .map_err(|error| SetError::refused("dir", error.to_string()))?;
        }
        let databases = self.keyspace.databases();
        if config.db_limits().iter().any(|limit| limit.db >= databases) {
            return Err(SetError::refused("db-maxmemory", "there is no such database"));
        }
        if [Effect::Process, Effect::Listen, Effect::Tls].into_iter().any(has) {
            self.adapt_process(config)?;
        }
        if has(Effect::Listen) || has(Effect::Tls) {
            self.listen_anew(config, before)?;
        }
        if has(Effect::Http)
            && let Err(error) = self.listen_http_anew(config, before)
        {
            if has(Effect::Listen) || has(Effect::Tls) {
                // It was possible a moment ago; if it no longer is, the log says so.
                let _ = self.listen_anew(before, config);
            }
            return Err(error);
        }
        // What cannot fail comes last, so that nothing has to be taken back.
        let (max, used) = (config.int("maxmemory"), self.counted_memory() as i64);
        if has(Effect::MaxMemory) && max > 0 && used > max {
            tracing::warn!(
                "maxmemory is {max} now, less than the {used} bytes in use: keys are evicted, or writes \
                 refused, as maxmemory-policy says"
            );
        }
        self.apply_log(config, effects);
        Ok(())
    }

    /// Carries `config` out again after `failed`, as far as that is possible.
    fn take_back(&self, config: &Config, failed: &Config, effects: &[Effect]) {
        let has = |effect| effects.contains(&effect);
        let process = self.adapt_process(config);
        let listen = if has(Effect::Listen) || has(Effect::Tls) {
            self.listen_anew(config, failed)
        } else {
            Ok(())
        };
        let http = if has(Effect::Http) { self.listen_http_anew(config, failed) } else { Ok(()) };
        self.apply_log(config, effects);
        for error in [process, listen, http].into_iter().filter_map(Result::err) {
            tracing::warn!("What was configured before is not possible any more: {error}");
        }
    }

    fn apply_log(&self, config: &Config, effects: &[Effect]) {
        let logs = [Effect::LogLevel, Effect::LogFormat, Effect::LogFile];
        if let Some(log) = &self.log
            && logs.into_iter().any(|effect| effects.contains(&effect))
        {
            log.apply(&LogSettings::from_config(config));
        }
    }

    fn adapt_process(&self, config: &Config) -> Result<(), SetError> {
        let mut adapt = self.adapt_process.lock();
        let adapted = adapt.as_mut().map_or(Ok(()), |adapt| adapt(config));
        adapted.map_err(|reason| {
            let reason = format!("Failed to apply new oom_score_adj configuration: {reason}");
            SetError::refused("oom-score-adj", reason)
        })
    }

    fn listen_anew(&self, config: &Config, before: &Config) -> Result<(), SetError> {
        let mut relisten = self.relisten.lock();
        let Some(relisten) = relisten.as_mut() else { return Ok(()) };
        let listeners = relisten(config, before).map_err(|failed| {
            let differs = |name: &&&str| config.print(name) != before.print(name);
            match failed {
                NotListening::Tls(reason) => {
                    tracing::warn!("{reason}");
                    // The same name again tells that its file has changed.
                    let name = TLS_NAMES.iter().find(differs).unwrap_or(&"tls-cert-file");
                    let reason = format!("Unable to update TLS configuration. {reason}");
                    SetError::refused(name, reason)
                }
                NotListening::Socket(reason) => {
                    tracing::warn!("{reason}");
                    match ["port", "tls-port"].iter().find(differs) {
                        Some(name) => SetError::refused(
                            name,
                            "Unable to listen on this port. Check server logs.",
                        ),
                        None => SetError::refused("bind", "Failed to bind to specified addresses."),
                    }
                }
            }
        })?;
        *self.listeners.write() = listeners;
        Ok(())
    }

    /// Accepts no more connections, for the rest of the server's life.
    pub fn stop_listening(&self) {
        let before = self.config.read().clone();
        let mut nowhere = before.clone();
        let stopped = nowhere
            .set(&[(b"port", b"0"), (b"tls-port", b"0")])
            .and_then(|_| self.listen_anew(&nowhere, &before));
        if let Err(error) = stopped {
            tracing::warn!("Still listening: {error}");
        }
    }

    fn listen_http_anew(&self, config: &Config, before: &Config) -> Result<(), SetError> {
        let mut relisten = self.relisten_http.lock();
        let Some(relisten) = relisten.as_mut() else { return Ok(()) };
        relisten(config, before).map_err(|error| {
            tracing::warn!("{error}");
            if config.int("http-port") == before.int("http-port") {
                SetError::refused("http-bind", "Failed to bind to specified addresses.")
            } else {
                SetError::refused("http-port", "Unable to listen on this port. Check server logs.")
            }
        })
    }
}

impl Server {
    /// Looks whether the files of TLS have changed since they were `seen`, and if so loads them anew.
    pub fn reload_tls(&self, seen: &mut Vec<Option<SystemTime>>) {
        // Held throughout, so that no CONFIG SET in between is undone.
        let config = self.config.read();
        let changed_at =
            |name: &&str| Some(config.text(name).to_owned()).filter(|path| !path.is_empty());
        let paths =
            TLS_NAMES.iter().filter(|name| name.contains("-file") && !name.ends_with("-pass"));
        let now: Vec<_> = paths
            .filter_map(changed_at)
            .map(|path| std::fs::metadata(path).and_then(|data| data.modified()).ok())
            .collect();
        let is_first = seen.is_empty();
        if *seen == now || config.int("tls-port") == 0 && !config.flag("tls-cluster") {
            return;
        }
        *seen = now;
        if !is_first && self.listen_anew(&config, &config).is_ok() {
            tracing::info!("TLS certificates and keys are loaded anew");
        }
    }
}

/// The directives by which TLS may become impossible.
const TLS_NAMES: [&str; 15] = [
    "tls-cert-file",
    "tls-key-file",
    "tls-key-file-pass",
    "tls-ca-cert-file",
    "tls-ca-cert-dir",
    "tls-auth-clients",
    "tls-protocols",
    "tls-ciphers",
    "tls-ciphersuites",
    "tls-client-cert-file",
    "tls-client-key-file",
    "tls-client-key-file-pass",
    "tls-dh-params-file",
    "tls-port",
    "tls-cluster",
];

/// Files the server opens besides its clients' sockets, and those of each event loop.
const FILES_RESERVED: usize = 32;
const FILES_PER_LOOP: usize = 8;

/// Lets the process open files for `clients` connections and returns how many it may have.
fn raise_open_files(clients: usize, threads: usize) -> usize {
    let reserved = FILES_RESERVED + FILES_PER_LOOP * threads;
    let wanted = clients.saturating_add(reserved) as u64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let most = limit.maximum.map_or(wanted, |most| most.min(wanted));
        limit.current = Some(most.max(limit.current.unwrap_or(0)));
        // What is possible is read back, so that a refusal shows there.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let possible = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| n as usize);
    clients.min(possible.saturating_sub(reserved)).max(1)
}
