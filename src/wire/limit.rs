//! `tollgate.v1.Limit`, in place of the generated type: what a limit is called stays the same from answer to
//! answer, so answers share it. On the wire it is as `proto/` says, and a test holds it against that.

use std::sync::Arc;

use prost::{
    DecodeError, Message, Name,
    bytes::{Buf, BufMut},
    encoding::{self, DecodeContext, WireType},
};

use crate::limit_texts::LimitTexts;

const NAME: u32 = 1;
const SCOPE: u32 = 2;
const METER: u32 = 3;
const WINDOW: u32 = 4;

macro_rules! limit {
    ($($tag:literal $name:ident: $kind:ident $type:ty;)+) => {
        /// One limit as it stands. Amounts are in the unit of the meter, times in milliseconds since the Unix
        /// epoch; `proto/tollgate/v1/gate.proto` says what each field means.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
        #[allow(missing_docs, reason = "documented in the proto")]
        pub struct Limit {
            /// Its name, its meter and its window.
            pub texts: Arc<LimitTexts>,
            /// Empty is the org itself; the name of an upstream account is masked.
            pub scope: Arc<str>,
            $(pub $name: $type,)+
        }

        impl Message for Limit {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                for (tag, text) in self.strings() {
                    if !text.is_empty() {
                        encoding::encode_key(tag, WireType::LengthDelimited, buf);
                        encoding::encode_varint(text.len() as u64, buf);
                        buf.put_slice(text.as_bytes());
                    }
                }
                $(
                    if self.$name != <$type>::default() {
                        encoding::$kind::encode($tag, &self.$name, buf);
                    }
                )+
            }

            fn encoded_len(&self) -> usize {
                let mut len = 0;
                for (tag, text) in self.strings() {
                    if !text.is_empty() {
                        len += encoding::key_len(tag) + encoding::encoded_len_varint(text.len() as u64) + text.len();
                    }
                }
                $(
                    if self.$name != <$type>::default() {
                        len += encoding::$kind::encoded_len($tag, &self.$name);
                    }
                )+
                len
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                context: DecodeContext,
            ) -> Result<(), DecodeError> {
                match tag {
                    NAME => encoding::string::merge(wire_type, &mut Arc::make_mut(&mut self.texts).name, buf, context),
                    METER => encoding::string::merge(wire_type, &mut Arc::make_mut(&mut self.texts).meter, buf, context),
                    WINDOW => encoding::string::merge(wire_type, &mut Arc::make_mut(&mut self.texts).window, buf, context),
                    SCOPE => {
                        let mut scope = String::new();
                        encoding::string::merge(wire_type, &mut scope, buf, context)?;
                        self.scope = scope.into();
                        Ok(())
                    }
                    $($tag => encoding::$kind::merge(wire_type, &mut self.$name, buf, context),)+
                    _ => encoding::skip_field(wire_type, tag, buf, context),
                }
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}

limit! {
    5 unlimited: bool bool;
    6 amount: int64 i64;
    7 used: int64 i64;
    8 reserved: int64 i64;
    9 remaining: int64 i64;
    10 resets_at_ms: int64 i64;
    11 exhausted: bool bool;
    12 limiting: bool bool;
    13 buffer: int64 i64;
    14 shadow: bool bool;
    15 blocked: int64 i64;
    16 stale: bool bool;
    17 resets_in_ms: int64 i64;
    18 carried: int64 i64;
    19 source: int32 i32;
    20 source_until_ms: int64 i64;
    21 granted: int64 i64;
    22 granted_until_ms: int64 i64;
    23 counts_from_ms: int64 i64;
    24 runs_out_at_ms: int64 i64;
    25 runs_out_in_ms: int64 i64;
    26 granted_until_spent: int64 i64;
    27 granted_spent: int64 i64;
    28 granted_left: int64 i64;
}

impl Limit {
    fn strings(&self) -> [(u32, &str); 4] {
        let LimitTexts { name, meter, window } = &*self.texts;
        [(NAME, name), (SCOPE, &self.scope), (METER, meter), (WINDOW, window)]
    }
}

impl Name for Limit {
    const NAME: &'static str = "Limit";
    const PACKAGE: &'static str = "tollgate.v1";
}

#[cfg(feature = "server")]
#[cfg(test)]
mod tests {
    use prost_reflect::{DynamicMessage, Kind, Value};

    use super::*;
    use crate::wire::json::descriptors;

    #[test]
    fn every_field_of_the_proto_is_read_and_written() {
        let descriptor = descriptors().unwrap().get_message_by_name(&Limit::full_name()).unwrap();
        for field in descriptor.fields() {
            let mut message = DynamicMessage::new(descriptor.clone());
            message.set_field(
                &field,
                match field.kind() {
                    Kind::String => Value::String(field.name().to_owned()),
                    Kind::Bool => Value::Bool(true),
                    Kind::Int64 => Value::I64(-7),
                    Kind::Enum(_) => Value::EnumNumber(6),
                    kind => panic!("{}: {kind:?}", field.name()),
                },
            );
            let bytes = message.encode_to_vec();
            let limit = Limit::decode(&*bytes).unwrap();
            assert_ne!(limit, Limit::default(), "{}", field.name());
            assert_eq!((limit.encode_to_vec(), limit.encoded_len()), (bytes.clone(), bytes.len()), "{}", field.name());
        }
        assert_eq!(Limit::default().encode_to_vec(), Vec::<u8>::new());
    }

    #[test]
    fn a_field_of_a_later_version_is_skipped() {
        let mut bytes = Limit { used: 7, ..Limit::default() }.encode_to_vec();
        encoding::string::encode(99, &"later".to_owned(), &mut bytes);
        assert_eq!(Limit::decode(&*bytes).unwrap(), Limit { used: 7, ..Limit::default() });
    }
}
