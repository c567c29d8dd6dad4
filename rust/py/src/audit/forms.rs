//! The forms in which a secret may lie somewhere, each as the bytes it comes to and the windows that give it away.
//!
//! A window stands for eight bytes of the secret (nine in base64), wherever they are in it: the shortest run that
//! counts as found. Bytes are written masked, one at a time, so that no form of a secret lies here in the clear.

use super::Mask;

/// Bytes of a secret in a window.
const WINDOW: usize = 8;
/// Bytes of a secret in a base64 window: what lies between two whole characters.
const BASE64_WINDOW: usize = 9;
/// Bits in a digit of a Python integer, which takes four bytes.
const DIGIT_BITS: usize = 30;
/// Digits in a window of a Python integer.
const DIGITS: usize = 3;
/// HMAC's inner and outer pad (RFC 2104): a key under either is the key.
const PADS: [(u8, &str, &str); 2] = [
    (0x36, "under ipad", "under ipad, words swapped"),
    (0x5c, "under opad", "under opad, words swapped"),
];

/// One form of one needle.
pub struct Rendering {
    pub form: &'static str,
    /// The whole of it; byte i is XORed with mask\[i % 8\].
    pub masked: Vec<u8>,
    /// Start and length of each window.
    pub windows: Vec<(u32, u32)>,
}

/// A needle that is unmasked one byte at a time.
#[derive(Clone, Copy)]
struct Needle<'n> {
    masked: &'n [u8],
    mask: Mask,
}

impl Needle<'_> {
    fn len(&self) -> usize {
        self.masked.len()
    }

    fn byte(&self, i: usize) -> u8 {
        self.masked[i] ^ self.mask[i % 8]
    }

    /// Bit i of the number whose bytes these are, most significant first, or least.
    fn bit(&self, i: usize, least_first: bool) -> u32 {
        let at = i / 8;
        if at >= self.len() {
            return 0;
        }
        let byte = self.byte(if least_first { at } else { self.len() - 1 - at });
        u32::from(byte >> (i % 8) & 1)
    }
}

/// Writes a form.
struct Writer {
    rendering: Rendering,
    mask: Mask,
}

impl Writer {
    fn new(form: &'static str, mask: Mask) -> Self {
        let rendering = Rendering {
            form,
            masked: Vec::new(),
            windows: Vec::new(),
        };
        Self { rendering, mask }
    }

    fn at(&self) -> usize {
        self.rendering.masked.len()
    }

    fn put(&mut self, byte: u8) {
        let mask = self.mask[self.at() % 8];
        self.rendering.masked.push(byte ^ mask);
    }

    fn window(&mut self, from: usize, to: usize) {
        self.rendering
            .windows
            .push((from as u32, (to - from) as u32));
    }

    /// A window for each run of `count` of the units that begin at these places and end before the next.
    fn windows(mut self, starts: &[usize], count: usize) -> Rendering {
        for run in starts.windows(count + 1) {
            self.window(run[0], run[count]);
        }
        self.rendering
    }
}

/// Every form of a needle.
pub fn all(masked: &[u8], mask: Mask) -> Vec<Rendering> {
    let needle = Needle { masked, mask };
    let mut forms = vec![
        bytes(needle, "raw", |n, i| n.byte(i)),
        bytes(needle, "reversed", |n, i| n.byte(n.len() - 1 - i)),
        digits(needle, "hex", 1, b'a'),
        digits(needle, "HEX", 1, b'A'),
        digits(needle, "hex, two bytes a character", 2, b'a'),
        digits(needle, "hex, four bytes a character", 4, b'a'),
        list(needle, "list of numbers", b", "),
        list(needle, "list of numbers", b","),
        escaped(needle),
        integer(needle, "integer", false),
        integer(needle, "integer, least byte first", true),
    ];
    for (pad, form, form_swapped) in PADS {
        forms.push(bytes(needle, form, |n, i| n.byte(i) ^ pad));
        forms.extend(swapped(needle, form_swapped, pad));
    }
    forms.extend(swapped(needle, "words swapped", 0));
    for shift in 0..3 {
        forms.push(base64(needle, "base64", shift, [b'+', b'/']));
        forms.push(base64(needle, "base64url", shift, [b'-', b'_']));
    }
    forms
}

/// One byte for each.
fn bytes(needle: Needle, form: &'static str, byte: impl Fn(Needle, usize) -> u8) -> Rendering {
    let mut out = Writer::new(form, needle.mask);
    (0..needle.len()).for_each(|i| out.put(byte(needle, i)));
    let starts: Vec<usize> = (0..=out.at()).collect();
    out.windows(&starts, WINDOW)
}

/// As SHA-2 keeps a message: big-endian words of four bytes in little-endian memory, from each of the four places where a
/// word may begin.
fn swapped(needle: Needle, form: &'static str, pad: u8) -> Vec<Rendering> {
    (0..4)
        .map(|first| {
            let mut out = Writer::new(form, needle.mask);
            for word in (first..(needle.len() + 1).saturating_sub(4)).step_by(4) {
                (0..4)
                    .rev()
                    .for_each(|i| out.put(needle.byte(word + i) ^ pad));
            }
            let starts: Vec<usize> = (0..=out.at()).step_by(4).collect();
            out.windows(&starts, WINDOW / 4)
        })
        .collect()
}

/// Hexadecimal, each character in the first of `width` bytes as in Python's wider strings.
fn digits(needle: Needle, form: &'static str, width: usize, letter: u8) -> Rendering {
    let mut out = Writer::new(form, needle.mask);
    for i in 0..needle.len() {
        for digit in [needle.byte(i) >> 4, needle.byte(i) & 15] {
            out.put(if digit < 10 {
                b'0' + digit
            } else {
                letter + digit - 10
            });
            (1..width).for_each(|_| out.put(0));
        }
    }
    let starts: Vec<usize> = (0..=out.at()).step_by(2 * width).collect();
    out.windows(&starts, WINDOW)
}

/// As Rust's Debug and Python print a sequence of bytes, or JSON does.
fn list(needle: Needle, form: &'static str, separator: &[u8]) -> Rendering {
    let mut out = Writer::new(form, needle.mask);
    let mut starts = Vec::new();
    for i in 0..needle.len() {
        starts.push(out.at());
        let byte = needle.byte(i);
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if byte >= least {
                out.put(b'0' + byte / unit % 10);
            }
        }
        separator.iter().for_each(|b| out.put(*b));
    }
    starts.push(out.at());
    out.windows(&starts, WINDOW)
}

/// As Python's repr of bytes, and Rust's escape_ascii.
fn escaped(needle: Needle) -> Rendering {
    let mut out = Writer::new("escaped", needle.mask);
    let mut starts = Vec::new();
    for i in 0..needle.len() {
        starts.push(out.at());
        let byte = needle.byte(i);
        match byte {
            b'\\' | b'\t' | b'\r' | b'\n' => {
                out.put(b'\\');
                out.put(match byte {
                    b'\t' => b't',
                    b'\r' => b'r',
                    b'\n' => b'n',
                    other => other,
                });
            }
            b' '..=b'~' => out.put(byte),
            _ => {
                out.put(b'\\');
                out.put(b'x');
                for digit in [byte >> 4, byte & 15] {
                    out.put(if digit < 10 {
                        b'0' + digit
                    } else {
                        b'a' + digit - 10
                    });
                }
            }
        }
    }
    starts.push(out.at());
    let mut rendering = out.windows(&starts, WINDOW);
    // Where nothing is escaped, it is the raw form.
    rendering
        .windows
        .retain(|(_, length)| *length as usize > WINDOW);
    rendering
}

/// As a Python integer: digits of 30 bits in words of 32, the least first.
fn integer(needle: Needle, form: &'static str, least_first: bool) -> Rendering {
    let mut out = Writer::new(form, needle.mask);
    for first in (0..needle.len() * 8).step_by(DIGIT_BITS) {
        for byte in 0..4 {
            let bits = (8 * byte..8 * byte + 8).filter(|bit| *bit < DIGIT_BITS);
            let value = bits.fold(0, |value, bit| {
                value | needle.bit(first + bit, least_first) << (bit % 8)
            });
            out.put(value as u8);
        }
    }
    let starts: Vec<usize> = (0..=out.at()).step_by(4).collect();
    out.windows(&starts, DIGITS)
}

/// Base64 of what begins `shift` bytes into the needle: whole characters only.
fn base64(needle: Needle, form: &'static str, shift: usize, last: [u8; 2]) -> Rendering {
    let mut out = Writer::new(form, needle.mask);
    let groups = needle.len().saturating_sub(shift) / 3;
    for group in 0..groups {
        for character in 0..4 {
            let bit = 6 * character;
            let at = shift + 3 * group + bit / 8;
            let high = u16::from(needle.byte(at));
            let low = if bit / 8 < 2 {
                u16::from(needle.byte(at + 1))
            } else {
                0
            };
            let six = ((high << 8 | low) >> (10 - bit % 8) & 63) as u8;
            out.put(match six {
                0..=25 => b'A' + six,
                26..=51 => b'a' + six - 26,
                52..=61 => b'0' + six - 52,
                _ => last[usize::from(six - 62)],
            });
        }
    }
    let starts: Vec<usize> = (0..=out.at()).step_by(4).collect();
    out.windows(&starts, BASE64_WINDOW / 3)
}
