//! What changing a directive does.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use super::Server;
use super::settings::OutputBound;
use crate::base::limits::STRING_LEN_MAX;
use crate::config::{Config, Effect, SetError};
use crate::keyspace::AccessPolicy;
use crate::observe::log::{Format, Level, LogSettings, Timestamp};

impl Server {
    /// Takes all settings over from the configuration.
    pub fn reconfigure_all(&self) {
        let config = self.config.read();
        let size = |name: &str| usize::try_from(config.int(name)).unwrap_or(0);
        let settings = &self.settings;
        settings.bulk_max.store(config.int("proto-max-bulk-len").max(1), Relaxed);
        settings.query_max.store(size("client-query-buffer-limit"), Relaxed);
        settings.clients_max.store(size("maxclients"), Relaxed);
        settings.idle_seconds.store(config.int("timeout"), Relaxed);
        settings.keepalive_seconds.store(config.int("tcp-keepalive"), Relaxed);
        settings.maxmemory.store(size("maxmemory") as u64, Relaxed);
        settings.latency_tracking.store(config.flag("latency-tracking"), Relaxed);
        settings.set_password(config.text("requirepass"));
        let [normal, ..] = config.output_limits();
        settings.set_output(OutputBound {
            hard: usize::try_from(normal.hard_bytes).unwrap_or(usize::MAX),
            soft: usize::try_from(normal.soft_bytes).unwrap_or(usize::MAX),
            soft_seconds: i64::try_from(normal.soft_seconds).unwrap_or(i64::MAX),
        });
        let small = |name: &str| u16::try_from(config.int(name)).unwrap_or(u16::MAX);
        self.keyspace.set_policy(AccessPolicy {
            lfu: config.text("maxmemory-policy").ends_with("-lfu"),
            log_factor: small("lfu-log-factor"),
            decay_minutes: small("lfu-decay-time"),
        });
        debug_assert!(settings.bulk_max() <= STRING_LEN_MAX.max(config.int("proto-max-bulk-len")));
    }

    /// Changes the configuration by `change` and carries out what follows; all or nothing.
    pub fn reconfigure(
        &self,
        change: impl FnOnce(&mut Config) -> Result<Vec<Effect>, SetError>,
    ) -> Result<(), SetError> {
        let before = {
            let mut config = self.config.write();
            let before = config.clone();
            let effects = change(&mut config)?;
            if let Err(error) = self.carry_out(&config, &before, &effects) {
                *config = before;
                return Err(error);
            }
            before
        };
        drop(before);
        self.reconfigure_all();
        Ok(())
    }

    fn carry_out(
        &self,
        config: &Config,
        before: &Config,
        effects: &[Effect],
    ) -> Result<(), SetError> {
        let has = |effect| effects.contains(&effect);
        if has(Effect::Aof) && config.flag("appendonly") {
            let reason = "the append only file is not supported yet";
            return Err(SetError::refused("appendonly", reason));
        }
        if has(Effect::Listen) {
            self.listen_anew(config, before)?;
        }
        // What cannot fail comes last, so that nothing has to be taken back.
        if let Some(log) = &self.log
            && [Effect::LogLevel, Effect::LogFormat, Effect::LogFile].into_iter().any(has)
        {
            log.apply(&log_settings(config));
        }
        Ok(())
    }

    fn listen_anew(&self, config: &Config, before: &Config) -> Result<(), SetError> {
        let mut relisten = self.relisten.lock();
        let Some(relisten) = relisten.as_mut() else { return Ok(()) };
        let addresses = relisten(config, before).map_err(|error| {
            tracing::warn!("{error}");
            if config.int("port") == before.int("port") {
                SetError::refused("bind", "Failed to bind to specified addresses.")
            } else {
                SetError::refused("port", "Unable to listen on this port. Check server logs.")
            }
        })?;
        *self.addresses.write() = addresses;
        Ok(())
    }
}

/// The log's settings as the configuration has them.
pub fn log_settings(config: &Config) -> LogSettings {
    let file = config.text("logfile");
    LogSettings {
        level: match config.text("loglevel") {
            "debug" => Level::Debug,
            "verbose" => Level::Verbose,
            "warning" => Level::Warning,
            "nothing" => Level::Nothing,
            _ => Level::Notice,
        },
        format: match config.text("log-format") {
            "logfmt" => Format::Logfmt,
            "json" => Format::Json,
            _ => Format::Legacy,
        },
        timestamp: match config.text("log-timestamp-format") {
            "iso8601" => Timestamp::Iso8601,
            "milliseconds" => Timestamp::Milliseconds,
            _ => Timestamp::Legacy,
        },
        file: (!file.is_empty()).then(|| PathBuf::from(file)),
    }
}
