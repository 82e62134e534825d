use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use thiserror::Error;

use super::LabelMismatch;
use crate::model::{Labels, Operator, Requirement, RequirementError, Text, parse_bound};

/// A label selector in text form, as in `kubectl --selector` and in namespace annotations.
///
/// It consists of comma-separated requirements, which must all hold. An empty selector matches everything.
///
/// The forms of a requirement are `a=b`, `a==b`, `a!=b`, `a in (x,y)`, `a notin (x)`, `a`, `!a`, `a>1` and `a<1`.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#list-and-watch-filtering>
///
/// ```
/// use daemonplan::{model::Labels, selector::SelectorExpression};
/// let selector: SelectorExpression = "role=worker, zone in (a,b), !gpu".parse().unwrap();
/// assert!(selector.matches(&Labels::from_iter([("role", "worker"), ("zone", "b")])));
/// assert!("role=worker,,".parse::<SelectorExpression>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SelectorExpression {
    requirements: Vec<Requirement>,
}

/// The error for a text that is not a [`SelectorExpression`].
///
/// ```
/// use daemonplan::selector::SelectorExpression;
/// let error = "a,,b".parse::<SelectorExpression>().unwrap_err();
/// assert!(error.to_string().contains("at position 2"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// The text has a syntax error.
    #[error("expected {expected}, found {found} at position {position}")]
    Unexpected {
        /// The expected tokens.
        expected: &'static str,
        /// The token that was found.
        found: String,
        /// The position of that token, in bytes from 0.
        position: usize,
    },
    /// A requirement is malformed.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
}

impl SelectorExpression {
    /// Returns the requirements, in the order of the text.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether `labels` meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Returns the first requirement that `labels` do not meet, or `None` if they meet all.
    pub fn mismatch(&self, labels: &Labels) -> Option<LabelMismatch> {
        LabelMismatch::first(&self.requirements, labels)
    }
}

impl Serialize for SelectorExpression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SelectorExpression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for SelectorExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if at > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for SelectorExpression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser { text, position: 0 };
        let mut requirements = Vec::new();
        if parser.peek() == Token::End {
            return Ok(Self { requirements });
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.peek() {
                Token::End => return Ok(Self { requirements }),
                Token::Symbol(",") => parser.skip(),
                _ => return Err(parser.unexpected("',' or the end")),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'t> {
    Symbol(&'t str),
    Word(&'t str),
    End,
}

struct Parser<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Parser<'t> {
    fn requirement(&mut self) -> Result<Requirement, ExpressionError> {
        let absent = self.accept("!");
        let key = self.word("a label key")?;
        let ends = matches!(self.peek(), Token::End | Token::Symbol(","));
        let operator = match (absent, ends) {
            (true, true) => Operator::DoesNotExist,
            (false, true) => Operator::Exists,
            // As in Kubernetes' parser, `!` has no effect if an operator follows the key.
            (_, false) => self.comparison()?,
        };
        Ok(Requirement::new(key, operator)?)
    }

    fn comparison(&mut self) -> Result<Operator, ExpressionError> {
        let (Token::Symbol(operator @ ("=" | "==" | "!=" | ">" | "<")) | Token::Word(operator @ ("in" | "notin"))) =
            self.peek()
        else {
            return Err(self.unexpected("=, ==, !=, >, <, in or notin"));
        };
        self.skip();
        Ok(match operator {
            "=" | "==" => Operator::In(vec![self.value()?]),
            "!=" => Operator::NotIn(vec![self.value()?]),
            ">" => Operator::Gt(parse_bound("Gt", &self.value()?)?),
            "<" => Operator::Lt(parse_bound("Lt", &self.value()?)?),
            "in" => Operator::In(self.values()?),
            _ => Operator::NotIn(self.values()?),
        })
    }

    /// Parses a value; a missing value is empty.
    fn value(&mut self) -> Result<Text, ExpressionError> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(Text::default()),
            _ => self.word("a value"),
        }
    }

    /// Parses values in parentheses; a missing value is empty.
    fn values(&mut self) -> Result<Vec<Text>, ExpressionError> {
        if !self.accept("(") {
            return Err(self.unexpected("'('"));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(match self.peek() {
                Token::Symbol("," | ")") => Text::default(),
                _ => self.word("a value, ',' or ')'")?,
            });
            if self.accept(")") {
                return Ok(values.into_iter().collect());
            }
            if !self.accept(",") {
                return Err(self.unexpected("',' or ')'"));
            }
        }
    }

    fn word(&mut self, expected: &'static str) -> Result<Text, ExpressionError> {
        match self.peek() {
            Token::Word(word) => {
                self.skip();
                Ok(word.into())
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = self.peek() == Token::Symbol(symbol);
        if found {
            self.skip();
        }
        found
    }

    fn peek(&self) -> Token<'t> {
        self.scan().0
    }

    fn skip(&mut self) {
        self.position = self.scan().1;
    }

    /// Returns the next token and the position after it.
    fn scan(&self) -> (Token<'t>, usize) {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let trimmed = rest.trim_start_matches(is_space);
        let start = self.text.len() - trimmed.len();
        let symbols = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
        let token = match symbols.into_iter().find(|symbol| trimmed.starts_with(symbol)) {
            Some(symbol) => Token::Symbol(symbol),
            None => match trimmed.find(|c| is_space(c) || "=!(),<>".contains(c)).unwrap_or(trimmed.len()) {
                0 => Token::End,
                end => Token::Word(trimmed.get(..end).unwrap_or_default()),
            },
        };
        let length = match token {
            Token::Symbol(text) | Token::Word(text) => text.len(),
            Token::End => 0,
        };
        (token, start + length)
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        let (token, end) = self.scan();
        let (found, position) = match token {
            Token::Symbol(text) | Token::Word(text) => (format!("{text:?}"), end - text.len()),
            Token::End => ("the end".to_owned(), end),
        };
        ExpressionError::Unexpected { expected, found, position }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<SelectorExpression>().map(|selector| selector.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_parsed() {
        for (text, expected) in [
            ("", ""),
            (" \t", ""),
            ("a=b", "a=b"),
            ("a == b", "a=b"),
            ("a!=b", "a!=b"),
            ("a in (y, x ,y)", "a in (x,y)"),
            ("a notin(x)", "a!=x"),
            ("a", "a"),
            ("! a", "!a"),
            ("a>1,b<2", "a>1,b<2"),
            ("a>007", "a>7"),
            ("a=,b", "a=,b"),
            ("a in ()", "a="),
            ("a in (,x)", "a in (,x)"),
            ("in in (in),notin=in", "in=in,notin=in"),
            ("x.io/a=b,c", "x.io/a=b,c"),
            ("!a=b", "a=b"),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn all_requirements_must_hold() {
        let matches = |text: &str| {
            let labels = Labels::from_iter([("role", "worker"), ("speed", "7")]);
            text.parse::<SelectorExpression>().unwrap().matches(&labels)
        };
        assert!(matches("") && matches("role=worker") && matches("role in (infra,worker),speed>6,!gpu"));
        assert!(!matches("gpu") && !matches("role=worker,speed>7") && !matches("role!=worker,speed>6"));
    }

    #[test]
    fn errors_name_the_expected_tokens_and_the_position() {
        for (text, expected) in [
            (",", "expected a label key, found \",\" at position 0"),
            ("a,", "expected a label key, found the end at position 2"),
            ("a b", "expected =, ==, !=, >, <, in or notin, found \"b\" at position 2"),
            ("a in x", "expected '(', found \"x\" at position 5"),
            ("a in (x", "expected ',' or ')', found the end at position 7"),
            ("a in (x y)", "expected ',' or ')', found \"y\" at position 8"),
            ("a=b c", "expected ',' or the end, found \"c\" at position 4"),
            ("a=!", "expected a value, found \"!\" at position 2"),
            ("a>x", "operator Gt expects an integer, found \"x\""),
            (
                "a=-b",
                "\"-b\" is not a valid label value (at most 63 letters, digits, '-', '_' and '.', alphanumeric at both ends)",
            ),
            (
                "a>-1",
                "\"-1\" is not a valid label value (at most 63 letters, digits, '-', '_' and '.', alphanumeric at both ends)",
            ),
            ("-a", "\"-a\" is not a valid label key"),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
    }
}
