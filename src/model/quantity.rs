use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// An amount of a resource, such as `250m` of CPU or `64Mi` of memory, with Kubernetes' arithmetic.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
///
/// Amounts are exact to a billionth; smaller fractions are rounded away from zero. Amounts with a binary suffix are
/// limited to 2^63 - 1, as in Kubernetes; all others to about 10^29.
///
/// A quantity displays as in Kubernetes, with the largest suffix that leaves no fraction. A sum has the format of its
/// first amount.
///
/// ```
/// use daemonplan::model::Quantity;
/// let sum: Quantity = ["64Mi", "1Gi"].iter().map(|text| text.parse::<Quantity>().unwrap()).sum();
/// assert_eq!(sum.to_string(), "1088Mi");
/// assert_eq!("0.25".parse::<Quantity>()?.to_string(), "250m");
/// # Ok::<(), daemonplan::model::InvalidQuantity>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    /// The amount in billionths.
    nanos: i128,
    format: Notation,
}

/// The format in which an amount is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Notation {
    /// `12e6`
    DecimalExponent,
    /// `12M`
    #[default]
    DecimalSi,
    /// `12Mi`
    BinarySi,
}

/// The error for a text that is not a [`Quantity`].
///
/// ```
/// use daemonplan::model::{InvalidQuantity, Quantity};
/// assert_eq!("64MB".parse::<Quantity>(), Err(InvalidQuantity { text: "64MB".into() }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a quantity such as 250m, 2 or 64Mi, found {text:?}")]
pub struct InvalidQuantity {
    /// The text that was found.
    pub text: String,
}

/// One unit, in billionths.
const ONE: i128 = 1_000_000_000;
/// The largest amount, in billionths.
const MAX: i128 = i128::MAX;
/// The largest amount that is read with a binary suffix, in billionths.
const MAX_BINARY: i128 = i64::MAX as i128 * ONE;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// Whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Returns the amount in billionths, rounded away from zero.
    ///
    /// ```
    /// use daemonplan::model::Quantity;
    /// assert_eq!("250m".parse::<Quantity>()?.nanos(), 250_000_000);
    /// # Ok::<(), daemonplan::model::InvalidQuantity>(())
    /// ```
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// Returns the amount in whole units, rounded away from zero, as Kubernetes' `Value()`.
    ///
    /// ```
    /// use daemonplan::model::Quantity;
    /// assert_eq!("1500m".parse::<Quantity>()?.value(), 2);
    /// # Ok::<(), daemonplan::model::InvalidQuantity>(())
    /// ```
    pub fn value(self) -> i128 {
        self.rounded(ONE)
    }

    /// Returns the amount in thousandths, rounded away from zero, as Kubernetes' `MilliValue()`.
    ///
    /// ```
    /// use daemonplan::model::Quantity;
    /// assert_eq!("0.25".parse::<Quantity>()?.milli(), 250);
    /// # Ok::<(), daemonplan::model::InvalidQuantity>(())
    /// ```
    pub fn milli(self) -> i128 {
        self.rounded(ONE / 1000)
    }

    /// Returns the text that the API server stores for an amount: the canonical one, such as `500m` for `0.5`. A text that
    /// has no fraction and no needless zeros is stored as it is, such as `+1` or `1e3`.
    ///
    /// ```
    /// use daemonplan::model::Quantity;
    /// let stored = ["0.05", "65536Ki", "1000m", "+1"].map(|text| Quantity::canonical(text).unwrap());
    /// assert_eq!(stored, ["50m", "64Mi", "1", "+1"]);
    /// ```
    ///
    /// # Errors
    /// If the text is no quantity.
    pub fn canonical(text: &str) -> Result<String, InvalidQuantity> {
        let text = text.trim();
        let quantity: Self = text.parse()?;
        Ok(if is_canonical(text) { text.to_owned() } else { quantity.to_string() })
    }

    /// Returns the text that the API server stores for a request or a limit: smaller fractions than thousandths are
    /// rounded up.
    ///
    /// ```
    /// use daemonplan::model::Quantity;
    /// assert_eq!(Quantity::rounded_up_to_milli("1100u").unwrap(), "2m");
    /// ```
    ///
    /// # Errors
    /// If the text is no quantity.
    pub fn rounded_up_to_milli(text: &str) -> Result<String, InvalidQuantity> {
        let quantity: Self = text.trim().parse()?;
        let rounded = quantity.rounded_to_milli();
        if rounded == quantity { Self::canonical(text) } else { Ok(rounded.to_string()) }
    }

    /// Rounds the amount up to thousandths.
    pub(crate) fn rounded_to_milli(self) -> Self {
        const MILLI: i128 = ONE / 1000;
        if self.nanos % MILLI == 0 {
            return self;
        }
        Self { nanos: self.milli().saturating_mul(MILLI), ..self }
    }

    /// Returns a number of thousandths.
    pub(crate) fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (ONE / 1000), format: Notation::DecimalSi }
    }

    /// Returns a number of bytes, which is written with a binary suffix.
    pub(crate) fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * ONE, format: Notation::BinarySi }
    }

    fn plus(self, nanos: i128, format: Notation) -> Self {
        let format = if self.is_zero() { format } else { self.format };
        Self { nanos: self.nanos.saturating_add(nanos).max(-MAX), format }
    }

    fn rounded(self, unit: i128) -> i128 {
        self.nanos / unit + (self.nanos % unit).signum()
    }
}

impl From<i64> for Quantity {
    fn from(units: i64) -> Self {
        Self { nanos: i128::from(units) * ONE, format: Notation::DecimalSi }
    }
}

impl From<u64> for Quantity {
    fn from(units: u64) -> Self {
        Self { nanos: i128::from(units) * ONE, format: Notation::DecimalSi }
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// Adds two amounts. The sum has the format of the first amount, unless that is zero.
    fn add(self, other: Self) -> Self {
        self.plus(other.nanos, other.format)
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    /// Subtracts an amount. The difference has the format of the first amount, unless that is zero.
    fn sub(self, other: Self) -> Self {
        self.plus(other.nanos.saturating_neg(), other.format)
    }
}

impl std::ops::Mul<i64> for Quantity {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Self { nanos: self.nanos.saturating_mul(times.into()).max(-MAX), ..self }
    }
}

impl std::ops::AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::ops::SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
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

impl std::hash::Hash for Quantity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

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
    if fraction.contains('.') {
        return None;
    }
    let (format, binary, exponent) = if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        (Notation::BinarySi, *shift, 0)
    } else if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (Notation::DecimalSi, 0, *exponent)
    } else {
        (Notation::DecimalExponent, 0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?)
    };
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    let scale = exponent.saturating_add(9).saturating_sub(i32::try_from(fraction.len()).ok()?);
    let nanos = scaled(digits.trim_start_matches('0'), scale, binary);
    Some(match format {
        // Like Kubernetes, so that small amounts are not rounded when they are written.
        Notation::BinarySi if nanos < ONE => Quantity { nanos: sign * nanos, format: Notation::DecimalSi },
        Notation::BinarySi => Quantity { nanos: sign * nanos.min(MAX_BINARY), format },
        _ => Quantity { nanos: sign * nanos, format },
    })
}

/// Whether Kubernetes keeps the text of a quantity: its digits fit into 64 bits, and a suffix fits them as they are.
fn is_canonical(text: &str) -> bool {
    const MAX_DIGITS: usize = 18;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent = DECIMAL.iter().find(|(name, _)| *name == suffix).map(|(_, exponent)| *exponent);
    let exponent = exponent.or_else(|| suffix.strip_prefix(['e', 'E'])?.parse().ok());
    let (Some(exponent), Ok(places)) = (exponent, i32::try_from(fraction.len())) else { return false };
    let digits = format!("{}{fraction}", whole.trim_start_matches('0'));
    let scale = exponent.saturating_sub(places);
    digits.len() <= MAX_DIGITS
        && scale >= -9
        && scale % 3 == 0
        && digits.parse::<u64>().is_ok_and(|digits| digits % 1000 != 0)
}

/// Computes `digits` × 10^`scale` × 2^`binary`, rounded up.
fn scaled(digits: &str, scale: i32, binary: u32) -> i128 {
    // Further decimal places affect rounding only, because 2^60 is less than 10^19.
    const PLACES: u32 = 20;
    const UNIT: i128 = 10_i128.pow(PLACES);
    if digits.is_empty() {
        return 0;
    }
    let digit = |place| usize::try_from(place).ok().and_then(|place| Some(digits.as_bytes().get(place)? - b'0'));
    let append = |number: i128, place| number.checked_mul(10)?.checked_add(digit(place).unwrap_or(0).into());
    let point = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(scale.into());
    let end = point.saturating_add(PLACES.into());
    let whole = (0..point).try_fold(0, append);
    let fraction = (point..end).try_fold(0, append).unwrap_or(0) << binary;
    let is_cut = digits.bytes().skip(usize::try_from(end).unwrap_or(0)).any(|digit| digit != b'0');
    let rounded = fraction / UNIT + i128::from(is_cut || fraction % UNIT > 0);
    whole.and_then(|whole| whole.checked_mul(1 << binary)?.checked_add(rounded)).unwrap_or(MAX)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos;
        // Kubernetes writes binary amounts below 1024 without a suffix, and binary fractions as decimals.
        if self.format == Notation::BinarySi && nanos.abs() >= 1024 * ONE && nanos % ONE == 0 {
            let (mut number, mut suffix) = (nanos / ONE, "");
            for (name, _) in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                (number, suffix) = (number / 1024, name);
            }
            return write!(f, "{number}{suffix}");
        }
        let (mut number, mut exponent) = (nanos, -9);
        let largest = if self.format == Notation::DecimalExponent { i32::MAX } else { 18 };
        while number != 0 && number % 1000 == 0 && exponent < largest {
            (number, exponent) = (number / 1000, exponent + 3);
        }
        let suffix = DECIMAL.iter().find(|(_, of)| *of == exponent).map_or("", |(suffix, _)| suffix);
        match self.format {
            _ if number == 0 || exponent == 0 => write!(f, "{number}"),
            Notation::DecimalExponent => write!(f, "{number}e{exponent}"),
            _ => write!(f, "{number}{suffix}"),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// Reads a string or a number, as the API server does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text.trim().parse(),
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
    fn quantities_are_written_with_the_largest_suffix_that_leaves_no_fraction() {
        for (text, written) in [
            ("0Mi", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("12000", "12k"),
            ("15e-1", "1500e-3"),
            ("1.5Gi", "1536Mi"),
            ("0.1Gi", "107374182400m"),
            ("0.5Ki", "512"),
            ("0.1n", "1n"),
            ("8Ei", "9223372036854775807"),
            ("8E", "8E"),
        ] {
            assert_eq!(canonical(text), written, "{text}");
        }
    }

    #[test]
    fn amounts_saturate_at_the_largest_one() {
        let max = "170141183460469231731687303715884105727";
        assert_eq!(canonical("1e30"), format!("{max}e-9"));
        assert_eq!(canonical("-1e1000000000"), format!("-{max}e-9"));
        let sum = |texts: [&str; 2]| texts.iter().map(|text| text.parse::<Quantity>().unwrap()).sum::<Quantity>();
        assert_eq!(sum(["170000000000E", "170000000000E"]).nanos(), i128::MAX);
        assert_eq!(sum(["-170000000000E", "-170000000000E"]).nanos(), -i128::MAX);
    }

    #[test]
    fn amounts_are_added_subtracted_multiplied_and_rounded() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        let mut left = quantity("2Gi") - quantity("512Mi") * 3;
        assert_eq!(left.to_string(), "512Mi");
        left += quantity("1Gi");
        left -= Quantity::from(512_i64);
        assert_eq!((left.value(), left), (1_610_612_224, Quantity::from(1_610_612_224_u64)));
        for (text, value, milli) in [("1100u", 1, 2), ("-1100u", -1, -2), ("3", 3, 3000), ("0", 0, 0)] {
            assert_eq!((quantity(text).value(), quantity(text).milli()), (value, milli), "{text}");
        }
        assert_eq!((quantity("170000000000E") * -2).nanos(), -i128::MAX, "sums and products saturate");
    }

    #[test]
    fn malformed_quantities_are_rejected() {
        for text in ["", "1.2.3", "1MB", "1KI", "1 Gi", "--1", "1e", "1e1.5", "0x10", "∞"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sum_has_the_format_of_its_first_amount_that_is_not_zero() {
        let sum =
            |texts: &[&str]| texts.iter().map(|text| text.parse::<Quantity>().unwrap()).sum::<Quantity>().to_string();
        assert_eq!(sum(&["0", "64Mi", "1G"]), "1067108864");
        assert_eq!(sum(&["1G", "64Mi"]), "1067108864");
        assert_eq!(sum(&["512Mi", "512Mi"]), "1Gi");
    }
}
