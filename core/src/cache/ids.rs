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
    };
}
pub(super) use id;
