//! Tags as they are written: for people, in the environment of commands, and as names of files. Peers
//! choose tags, so nothing of them is taken as it is.

use std::fmt::Write;

/// Characters of a file's name that a tag makes at most: with what comes behind it, a name stays
/// within the 255 bytes of file systems.
const LONGEST: usize = 160;

/// A tag with every byte but letters, digits, `-`, `_` and `.` as `%XX`, and so a `-` or `.` that it begins
/// with: it is one word, no option of a command, no hidden file and no way out of a folder. Two tags are never
/// written alike.
pub(super) fn written(tag: &[u8]) -> String {
    let mut written = String::with_capacity(tag.len());
    for (at, &byte) in tag.iter().enumerate() {
        push(&mut written, byte, at == 0);
    }
    written
}

/// The bytes of a tag in hexadecimal: two lower-case digits each.
pub(super) fn hex(tag: &[u8]) -> String {
    tag.iter().fold(String::with_capacity(2 * tag.len()), |mut digits, byte| {
        // Writing to a text does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The beginning of a file's name: as [`written`], but a long one is cut, which a `~` at its end says.
pub(super) fn file_name(tag: &[u8]) -> String {
    let mut name = String::new();
    for (at, &byte) in tag.iter().enumerate() {
        let before = name.len();
        push(&mut name, byte, at == 0);
        if name.len() > LONGEST {
            name.truncate(before);
            name.push('~');
            break;
        }
    }
    name
}

fn push(text: &mut String, byte: u8, is_first: bool) {
    let plain: &[u8] = if is_first { b"_" } else { b"-_." };
    if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
        text.push(char::from(byte));
    } else {
        // Writing to a text does not fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Component, Path};

    #[test]
    fn a_plain_tag_is_written_as_it_is() {
        assert_eq!(written(b"logs.web-1_x"), "logs.web-1_x");
        assert_eq!(file_name(b"logs.web-1_x"), "logs.web-1_x");
    }

    #[test]
    fn a_hostile_tag_names_a_file_in_the_same_folder() {
        let tags: [&[u8]; 9] =
            [b"../x", b"..", b".", b"a/b", b"/", b"\0", b"a\nb", b"con\\aux:", &[0xff; 255]];
        for tag in tags {
            let name = file_name(tag);
            let mut components = Path::new(&name).components();
            assert!(matches!(components.next(), Some(Component::Normal(_))), "{name}");
            assert_eq!(components.next(), None, "{name}");
            assert!(name.len() <= LONGEST + 1 && !name.starts_with('.'), "{name}");
        }
        assert_eq!(file_name(b"../x"), "%2E.%2Fx");
        assert!(file_name(&[0xff; 255]).ends_with("%FF~"));
    }

    #[test]
    fn no_tag_is_taken_for_an_option_or_a_hidden_file() {
        for (tag, name) in [("-rf", "%2Drf"), (".profile", "%2Eprofile"), ("a-.b", "a-.b")] {
            assert_eq!(
                (written(tag.as_bytes()), file_name(tag.as_bytes())),
                (name.into(), name.into())
            );
        }
    }

    #[test]
    fn no_two_tags_are_written_alike() {
        assert_ne!(written(b"a/b"), written(b"a%2Fb"));
        assert_eq!(written(b"a%2Fb"), "a%252Fb");
    }
}
