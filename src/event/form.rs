//! The two forms of an event, made from one list of its fields: a line of the log, and an object for those who watch.

use serde_json::{Map, Value, json};
use tracing::field::DisplayValue;

/// The object that an event is added to, or `None` for the log.
pub(super) type EventForm<'a> = Option<&'a mut Map<String, Value>>;

/// Writes an event in a [`EventForm`]: its level, its target below `sipknock::`, its text, and its fields in the log's order. The
/// level may depend on a condition. The text is part of the object if it says more than the fields do: `message(text)`.
macro_rules! line {
    ($form:expr, [$level:ident if $condition:expr, $other:ident], $($rest:tt)*) => {
        if $condition { line!($form, [$level], $($rest)*) } else { line!($form, [$other], $($rest)*) }
    };
    ($form:expr, [$level:ident], $target:literal, message($text:expr), { $($fields:tt)* }) => {{
        let mut form = $form;
        if let Some(object) = form.as_deref_mut() {
            object.insert("message".to_owned(), $text.to_string().into());
        }
        line!(form, [$level], $target, $text, { $($fields)* })
    }};
    ($form:expr, [$level:ident], $target:literal, $text:expr, { $($name:ident $(: $value:expr)?),* $(,)? }) => {
        match $form {
            None => tracing::event!(
                target: concat!("sipknock::", $target),
                tracing::Level::$level,
                $($name = $crate::event::form::FormField::log(&line!(@value $name $($value)?)),)*
                "{}",
                $text
            ),
            Some(object) => {
                object.insert("level".to_owned(), stringify!($level).into());
                object.insert("target".to_owned(), concat!("sipknock::", $target).into());
                $(
                    let value = $crate::event::form::FormField::json(&line!(@value $name $($value)?));
                    if !value.is_null() {
                        object.insert(stringify!($name).to_owned(), value);
                    }
                )*
            }
        }
    };
    (@value $name:ident) => { $name };
    (@value $name:ident $value:expr) => { $value };
}
pub(super) use line;

/// A field's value in both forms. One that is not there is left out.
pub(super) trait FormField {
    fn log(&self) -> Option<&dyn tracing::Value>;
    fn json(&self) -> Value;
}

/// A value for the log, and another one for the object; `()` is none.
pub(super) struct Either<L, J>(pub(super) L, pub(super) J);

impl<L: FormField, J: FormField> FormField for Either<L, J> {
    fn log(&self) -> Option<&dyn tracing::Value> {
        self.0.log()
    }

    fn json(&self) -> Value {
        self.1.json()
    }
}

impl FormField for () {
    fn log(&self) -> Option<&dyn tracing::Value> {
        None
    }

    fn json(&self) -> Value {
        Value::Null
    }
}

impl<T: FormField> FormField for Option<T> {
    fn log(&self) -> Option<&dyn tracing::Value> {
        self.as_ref()?.log()
    }

    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, FormField::json)
    }
}

impl<T: FormField> FormField for &T {
    fn log(&self) -> Option<&dyn tracing::Value> {
        (*self).log()
    }

    fn json(&self) -> Value {
        (*self).json()
    }
}

/// Text without quotes in the log.
impl<T: std::fmt::Display> FormField for DisplayValue<T> {
    fn log(&self) -> Option<&dyn tracing::Value> {
        Some(self)
    }

    fn json(&self) -> Value {
        self.to_string().into()
    }
}

macro_rules! fields {
    ($($kind:ty),*) => {
        $(impl FormField for $kind {
            fn log(&self) -> Option<&dyn tracing::Value> {
                Some(self)
            }

            fn json(&self) -> Value {
                json!(self)
            }
        })*
    };
}

fields!(&str, String, bool, u16, u32, u64, usize, f64);
