use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// An amount of a resource, such as `250m` of CPU or `64Mi` of memory, with Kubernetes' arithmetic.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
///
/// It is exact to a billionth; what is finer is rounded up. It is written as Kubernetes writes it: with the largest suffix
/// that leaves no fraction, and in the form of the first amount of a sum.
///
/// ```
/// use daemonplan::Quantity;
/// let sum: Quantity = ["64Mi", "1Gi"].iter().map(|text| text.parse::<Quantity>().unwrap()).sum();
/// assert_eq!(sum.to_string(), "1088Mi");
/// assert_eq!("0.25".parse::<Quantity>()?.to_string(), "250m");
/// # Ok::<(), daemonplan::InvalidQuantity>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    /// Billionths.
    nanos: i128,
    format: Format,
}

/// How an amount is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12M`
    #[default]
    DecimalSi,
    /// `12Mi`
    BinarySi,
}

/// The text is no [`Quantity`].
///
/// ```
/// use daemonplan::{InvalidQuantity, Quantity};
/// assert_eq!("64MB".parse::<Quantity>(), Err(InvalidQuantity { text: "64MB".into() }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a quantity such as 250m, 2 or 64Mi, found {text:?}")]
pub struct InvalidQuantity {
    /// The text.
    pub text: String,
}

const ONE: i128 = 1_000_000_000;
/// No amount is larger.
const MOST: i128 = i64::MAX as i128 * ONE;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// The amount in billionths, rounded up.
    ///
    /// ```
    /// use daemonplan::Quantity;
    /// assert_eq!("250m".parse::<Quantity>()?.nanos(), 250_000_000);
    /// # Ok::<(), daemonplan::InvalidQuantity>(())
    /// ```
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// So many of something that is counted.
    pub(super) fn count(count: usize) -> Self {
        let nanos = i128::try_from(count).unwrap_or(MOST).saturating_mul(ONE).min(MOST);
        Self { nanos, format: Format::DecimalSi }
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// Adds; the sum is written as the first one is, unless that is nothing.
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-MOST, MOST), format }
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), std::ops::Add::add)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        read(text).ok_or_else(|| InvalidQuantity { text: text.to_owned() })
    }
}

fn read(text: &str) -> Option<Quantity> {
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (format, binary, exponent) = if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        (Format::BinarySi, *shift, 0)
    } else if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (Format::DecimalSi, 0, *exponent)
    } else {
        (Format::DecimalExponent, 0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?)
    };
    // Digits beyond the 40th say nothing about an amount that is exact to a billionth and at most 2^63.
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    let digits = digits.trim_start_matches('0');
    let scale = exponent + 9 - i32::try_from(fraction.len()).ok()?;
    let nanos = scaled(digits, scale, binary);
    Some(Quantity { nanos: sign * nanos.min(MOST), format })
}

/// `digits` × 10^`scale` × 2^`binary`, rounded up; at least [`MOST`] if it is that large.
fn scaled(digits: &str, scale: i32, binary: u32) -> i128 {
    const MOST_DIGITS: usize = 30;
    if digits.is_empty() {
        return 0;
    }
    let dropped = digits.len().saturating_sub(MOST_DIGITS);
    let (kept, rest) = digits.split_at(digits.len() - dropped);
    let lost = rest.bytes().any(|digit| digit != b'0');
    let number = kept.parse::<i128>().unwrap_or(i128::MAX);
    let scale = scale.saturating_add(i32::try_from(dropped).unwrap_or(i32::MAX));
    let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
    if scale >= 0 {
        let scaled = power(scale).and_then(|power| number.checked_mul(power)?.checked_mul(1 << binary));
        return scaled.unwrap_or(MOST);
    }
    let Some(divisor) = power(scale) else { return 1 };
    match number.checked_mul(1 << binary) {
        Some(number) => number / divisor + i128::from(lost || number % divisor != 0),
        // It is so large that a fraction does not matter.
        None => (number / divisor).checked_mul(1 << binary).unwrap_or(MOST),
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos;
        // Kubernetes writes small amounts of bytes without a suffix, and larger ones as whole bytes.
        if self.format == Format::BinarySi && nanos.abs() >= 1024 * ONE {
            let mut number = nanos / ONE + i128::from(nanos % ONE > 0);
            let mut suffix = "";
            for (name, _) in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                (number, suffix) = (number / 1024, name);
            }
            return write!(f, "{number}{suffix}");
        }
        let (mut number, mut place) = (nanos, 0);
        while number != 0 && number % 1000 == 0 && place + 1 < DECIMAL.len() {
            (number, place) = (number / 1000, place + 1);
        }
        match DECIMAL.get(place) {
            _ if number == 0 => f.write_str("0"),
            Some((_, exponent)) if self.format == Format::DecimalExponent && *exponent != 0 => {
                write!(f, "{number}e{exponent}")
            }
            Some((suffix, _)) => write!(f, "{number}{suffix}"),
            None => write!(f, "{number}"),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// Reads a text, or a number as the API server does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text.parse(),
            serde_json::Value::Number(number) => number.to_string().parse(),
            other => Err(InvalidQuantity { text: other.to_string() }),
        };
        read.map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().map_or_else(|error| error.to_string(), |quantity| quantity.to_string())
    }

    #[test]
    fn quantities_are_written_as_kubernetes_writes_them() {
        for (text, written) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("1", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("12000", "12k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("15e-1", "1500e-3"),
            ("2E", "2E"),
            ("64Mi", "64Mi"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("1000Ki", "1000Ki"),
            ("0.5Ki", "512"),
            ("0.1Gi", "107374183"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1.0000000001", "1000000001n"),
            ("-250m", "-250m"),
            ("+3", "3"),
            ("8Ei", "9223372036854775807"),
            ("99999999999999999999999999999999999999999999999", "9223372036854775807"),
            ("0.00000000000000000000000000000000000000000000001", "1n"),
            ("1e1000000000", "9223372036854775807"),
        ] {
            assert_eq!(canonical(text), written, "{text}");
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", "m", "1.2.3", "1MB", "1KI", "1 Gi", "--1", "1e", "e3", "1e1.5", "0x10", "∞"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sum_is_written_as_its_first_amount_that_is_not_nothing() {
        let sum =
            |texts: &[&str]| texts.iter().map(|text| text.parse::<Quantity>().unwrap()).sum::<Quantity>().to_string();
        assert_eq!(sum(&["0", "64Mi", "1G"]), "1067108864");
        assert_eq!(sum(&["1G", "64Mi"]), "1067108864");
        assert_eq!(sum(&["100m", "0.9"]), "1");
        assert_eq!(sum(&["512Mi", "512Mi"]), "1Gi");
        assert_eq!(sum(&["8Ei", "8Ei"]), "9223372036854775807");
    }
}
