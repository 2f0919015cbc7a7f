//! How ids are made of keys.

/// An id: the key of a thing, with a name for people.
macro_rules! id {
    ($(#[$doc:meta])* $id:ident($thing:ty) = $name:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(pub(super) $crate::storage::slab::Key<$thing>);

        impl core::fmt::Debug for $id {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!($name, " {}"), self.0.generation)
            }
        }

        $crate::display::display!($id { id => "{id:?}" });

        /// One that may exist: generations begin with 1, and places are taken from the first on.
        #[cfg(feature = "arbitrary")]
        impl<'a> arbitrary::Arbitrary<'a> for $id {
            fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                let slot = u.arbitrary::<u8>()?.into();
                Ok(Self($crate::storage::slab::Key::new(slot, u.arbitrary::<u64>()?.max(1))))
            }
        }

        /// Generations begin with 1: zero is that of a free place, which no id names.
        impl $crate::journal::Field<'_> for $id {
            fn encode(&self, out: &mut $crate::journal::Encoder<'_>) {
                (self.0.slot, self.0.generation).encode(out);
            }

            fn decode(
                input: &mut $crate::journal::Decoder<'_>,
            ) -> Result<Self, $crate::journal::Malformed> {
                match $crate::journal::Field::decode(input)? {
                    (_, 0) => Err($crate::journal::Malformed::Unknown { what: "stamp", value: 0 }),
                    (slot, generation) => {
                        Ok(Self($crate::storage::slab::Key::new(slot, generation)))
                    }
                }
            }
        }
    };
}
pub(super) use id;
