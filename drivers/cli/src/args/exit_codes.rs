//! The exit codes of each command, each with its meaning: what `--help` lists, and what `main` holds the
//! program to.

/// Codes that share a line of `--help`, and the words there.
pub(super) type ExitCodes = &'static [(&'static [u8], &'static str)];

const COMPLETE: (&[u8], &str) = (&[0], "complete: nothing is missing");
const USAGE: (&[u8], &str) = (&[2], "the command line makes no sense");
const FAILED: (&[u8], &str) = (&[4], "a file or a socket failed");
const INTERRUPTED: (&[u8], &str) = (
    &[130, 143, 129],
    "interrupted by SIGINT before the end, and nothing was lost by then; 143 by SIGTERM, 129 by SIGHUP",
);

const READER_GONE: (&[u8], &str) = (&[141], "nobody reads standard output any more");

pub(super) const DEMO: ExitCodes = &[
    COMPLETE,
    (&[1], "something was lost or came otherwise; standard error names it"),
    USAGE,
    (&[3], "nothing came for 15 s"),
    FAILED,
    INTERRUPTED,
    READER_GONE,
];

pub(super) const PUBLISH: ExitCodes = &[
    (&[0], "all of it was published"),
    USAGE,
    (&[4], "a file or a socket failed, or the system took not one packet of a line"),
    (
        &[130, 143, 129],
        "interrupted by SIGINT before the end of the input: no end of the session was sent; 143 by SIGTERM, \
         129 by SIGHUP",
    ),
    READER_GONE,
];

pub(super) const RECEIVE: ExitCodes = &[
    COMPLETE,
    (&[1], "something was lost, or a session is not whole otherwise: standard error says why"),
    USAGE,
    (&[3], "timed out (--timeout, --max-time), and nothing was lost by then"),
    FAILED,
    INTERRUPTED,
    READER_GONE,
];

pub(super) const REPLAY: ExitCodes = &[
    (&[0], "replayed; with --verify, everything was as recorded"),
    (&[1], "with --verify: a machine did something else than was recorded"),
    USAGE,
    (&[4], "the journal cannot be read, is damaged (the message says where), or holds nothing"),
    (&[130, 143, 129], "interrupted by SIGINT before the end; 143 by SIGTERM, 129 by SIGHUP"),
    READER_GONE,
];

pub(super) const LISTEN: ExitCodes = &[
    (&[0], "complete: all streams were, those too that came to their end after a signal"),
    (&[1], "a stream was broken off, by either side or because the connection was lost"),
    USAGE,
    FAILED,
    (&[9], "a command of --exec failed, took too long or could not be started"),
    (
        &[130, 143, 129],
        "streams were cut off at --drain after SIGINT, and nothing was lost by then; 143 after SIGTERM, 129 \
         after SIGHUP",
    ),
    READER_GONE,
];

pub(super) const SEND: ExitCodes = &[
    (&[0], "complete: whoever took the stream says so, or that it needs no more of it"),
    (&[1], "the stream was broken off, by the peer or because the connection was lost"),
    USAGE,
    FAILED,
    (&[5], "the peer cannot be reached"),
    (&[6], "one side does not believe the other's certificate"),
    (&[7], "the peer speaks another protocol"),
    (&[8], "the peer refused the stream: nobody takes its tag, or it takes no more streams"),
    (&[130, 143, 129], "interrupted by SIGINT before the end; 143 by SIGTERM, 129 by SIGHUP"),
    READER_GONE,
];

/// Of all commands together.
pub(super) const ALL: ExitCodes = &[
    COMPLETE,
    (&[1], "something was lost; or a replay differs from what was recorded"),
    USAGE,
    (&[3], "timed out"),
    (&[4], "a file or a socket failed; or a journal is damaged, or empty"),
    (&[5, 6, 7, 8], "to 8: a stream could not be sent; see `gapless stream send --help`"),
    (&[9], "a command that was given a stream failed"),
    INTERRUPTED,
    READER_GONE,
];

/// The list at the end of a command's `--help`.
pub(super) fn list(codes: ExitCodes) -> String {
    let mut list = String::from("Exit codes:");
    for (codes, words) in codes {
        list.push_str(&format!("\n  {}  {words}", codes[0]));
    }
    list
}

/// The end of a command's `--help`, behind the flags: examples and exit codes.
pub(super) fn after_help(examples: &str, codes: ExitCodes) -> String {
    format!("{examples}\n\n{}", list(codes))
}
