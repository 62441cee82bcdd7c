//! Documentation of publishing and subscribing. Data only.

use super::{Arg, Docs};

const CHANNEL: Arg = Arg::string("channel");
const SHARD_CHANNEL: Arg = Arg::string("shardchannel");
const PATTERN: Arg = Arg::pattern("pattern");
const MESSAGE: Arg = Arg::string("message");

/// The publish and subscribe family, by name.
pub static DOCS: &[Docs] = &[
    pubsub(
        "psubscribe",
        "2.0.0",
        "O(N) for N patterns.",
        "Listens to all channels that match one of the patterns.",
    )
    .args(&[PATTERN.multiple()]),
    pubsub(
        "publish",
        "2.0.0",
        "O(N+M) for N clients that get the message and M patterns that anybody listens to.",
        "Sends a message to all who listen to a channel.",
    )
    .args(&[CHANNEL, MESSAGE]),
    pubsub(
        "pubsub",
        "2.8.0",
        "Depends on subcommand.",
        "Groups the commands that tell who listens to what.",
    ),
    pubsub(
        "pubsub|channels",
        "2.8.0",
        "O(N) for N channels that somebody listens to.",
        "Lists the channels that somebody listens to.",
    )
    .args(&[PATTERN.optional()]),
    pubsub("pubsub|help", "6.2.0", "O(1)", "Lists the PUBSUB subcommands."),
    pubsub(
        "pubsub|numpat",
        "2.8.0",
        "O(1)",
        "Counts the different patterns that somebody listens to.",
    ),
    pubsub(
        "pubsub|numsub",
        "2.8.0",
        "O(N) for N channels named.",
        "Counts who listens to each channel by its name.",
    )
    .args(&[CHANNEL.optional().multiple()]),
    pubsub(
        "pubsub|shardchannels",
        "7.0.0",
        "O(N) for N shard channels that somebody listens to.",
        "Lists the shard channels that somebody listens to.",
    )
    .args(&[PATTERN.optional()]),
    pubsub(
        "pubsub|shardnumsub",
        "7.0.0",
        "O(N) for N shard channels named.",
        "Counts who listens to each shard channel.",
    )
    .args(&[SHARD_CHANNEL.optional().multiple()]),
    pubsub(
        "punsubscribe",
        "2.0.0",
        "O(N) for N patterns.",
        "Ends listening to the channels that match patterns, to those of all patterns by default.",
    )
    .args(&[PATTERN.optional().multiple()]),
    pubsub(
        "spublish",
        "7.0.0",
        "O(N) for N clients that get the message.",
        "Sends a message to all who listen to a shard channel.",
    )
    .args(&[SHARD_CHANNEL, MESSAGE]),
    pubsub("ssubscribe", "7.0.0", "O(N) for N shard channels.", "Listens to shard channels.")
        .args(&[SHARD_CHANNEL.multiple()]),
    pubsub("subscribe", "2.0.0", "O(N) for N channels.", "Listens to channels.")
        .args(&[CHANNEL.multiple()]),
    pubsub(
        "sunsubscribe",
        "7.0.0",
        "O(N) for N shard channels.",
        "Ends listening to shard channels, to all by default.",
    )
    .args(&[SHARD_CHANNEL.optional().multiple()]),
    pubsub(
        "unsubscribe",
        "2.0.0",
        "O(N) for N channels.",
        "Ends listening to channels, to all by default.",
    )
    .args(&[CHANNEL.optional().multiple()]),
];

const fn pubsub(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "pubsub", since, complexity, summary)
}
