//! A machine's vocabulary, said once: an enum whose entries are its variants, with the numbers by which journals
//! know them, makes the type, the way it is printed, the way it is written and, for events that are calls too, the
//! dispatch.

/// Implements [`Field`](crate::journal::Field) for a struct: its fields one after the other, those written `by` a module with the
/// module's `encode` and `decode`. Where it is only digested, what the function behind `or` makes of it is written
/// instead, from the version `since` of a machine on.
#[macro_export]
macro_rules! fields {
    (@encode $value:expr, $out:expr) => { $crate::journal::Field::encode($value, $out) };
    (@encode $value:expr, $out:expr, $codec:ident) => { $codec::encode($value, $out) };
    (@decode $input:expr) => { $crate::journal::Field::decode($input) };
    (@decode $input:expr, $codec:ident) => { $codec::decode($input) };
    ($type:ty { $($field:tt $(by $codec:ident)?),* $(,)? }
    $(or $digested:ident since $since:literal of $machine:ident)?) => {
        impl<'a> $crate::journal::Field<'a> for $type {
            #[inline]
            fn encode(&self, out: &mut $crate::journal::Encoder<'_>) {
                $(if out.is_digest() && out.version_of::<$machine>() >= $since {
                    return $crate::journal::Field::encode(&$digested(self), out);
                })?
                $($crate::fields!(@encode &self.$field, out $(, $codec)?);)*
            }

            fn decode(
                input: &mut $crate::journal::Decoder<'a>,
            ) -> Result<Self, $crate::journal::Malformed> {
                Ok(Self { $($field: $crate::fields!(@decode input $(, $codec)?)?),* })
            }
        }
    };
}

/// Implements [`Field`](crate::journal::Field) for types that wrap a number.
#[macro_export]
macro_rules! newtypes {
    ($($type:ty),*) => {$($crate::fields!($type { 0 });)*};
}

/// Implements [`Field`](crate::journal::Field) for an enum: the number of its variant in a byte, then the
/// variant's fields, those written `by` a module as by [`fields!`]. Behind `retired` are numbers that are not written any more, and what they are read as; behind
/// `unwritten` variants with one field that no journal ever has; behind `embedded` numbers of variants that hold
/// another enum's, which is written without a number of its own. Before the version `since` of a machine nothing is
/// written, and what stands behind `or` is read.
#[macro_export]
macro_rules! variants {
    ($what:literal $(for $generic:ident)?
    $(since $since:literal of $machine:ident or $default:expr)?, $type:ty {
        $($number:literal => $variant:ident $(($($part:ident),*))?
            $({$($field:ident $(by $codec:ident)?),*})?),* $(,)?
    } $(retired { $($old:literal => ($($read:ident),*) $made:expr),* $(,)? })?
        $(unwritten { $($never:ident),* })?
        $(embedded { $($inner:literal => ($($of:ident),*) [$($whole:tt)*]),* $(,)? })?) => {
        impl<'a $(, $generic: $crate::journal::Field<'a>)?> $crate::journal::Field<'a> for $type {
            #[inline]
            fn encode(&self, out: &mut $crate::journal::Encoder<'_>) {
                $(if out.version_of::<$machine>() < $since {
                    return;
                })?
                match self {
                    $(Self::$variant $(($($part),*))? $({$($field),*})? => {
                        out.put(&[$number]);
                        $($($crate::journal::Field::encode($part, out);)*)?
                        $($($crate::fields!(@encode $field, out $(, $codec)?);)*)?
                    })*
                    $($(Self::$never(_) => {})*)?
                    $($($($whole)* => {
                        out.put(&[$inner]);
                        $($crate::journal::Field::encode($of, out);)*
                    })*)?
                }
            }

            fn decode(
                input: &mut $crate::journal::Decoder<'a>,
            ) -> Result<Self, $crate::journal::Malformed> {
                $(if input.version_of::<$machine>() < $since {
                    return Ok($default);
                })?
                match <u8 as $crate::journal::Field<'_>>::decode(input)? {
                    $($number => {
                        $($(let $part = $crate::journal::Field::decode(input)?;)*)?
                        $($(let $field = $crate::fields!(@decode input $(, $codec)?)?;)*)?
                        Ok(Self::$variant $(($($part),*))? $({$($field),*})?)
                    })*
                    $($($old => {
                        $(let $read = $crate::journal::Field::decode(input)?;)*
                        Ok($made)
                    })*)?
                    $($($inner => {
                        $(let $of = $crate::journal::Field::decode(input)?;)*
                        Ok($($whole)*)
                    })*)?
                    other => Err($crate::journal::Malformed::Unknown {
                        what: $what,
                        value: other.into(),
                    }),
                }
            }
        }
    };
}

/// Declares an enum of a machine's vocabulary: `"what it is"; pub enum Name { number => Variant { field: Type } }`.
///
/// It is printed as `derive(Debug)` would, but for fields declared `as Wrapper`, which are printed by that; and
/// it has a [`Field`](crate::journal::Field), as by [`variants!`], fields declared `name by module` included. With `for Machine, Answer;` before the enum,
/// each variant says behind `=> |machine, now|` which call it stands for, and `dispatch` makes it.
#[macro_export]
macro_rules! vocabulary {
    (
        $what:literal for $machine:ty, $answer:ty;
        $(#[$meta:meta])*
        pub enum $name:ident<$life:lifetime> {
            $(
                $(#[$doc:meta])*
                $number:literal => $variant:ident {
                    $($(#[$field_doc:meta])* $field:ident $(by $codec:ident)?: $type:ty $(as $show:ident)?),*
                    $(,)?
                } => |$this:ident, $now:tt| $call:expr
            ),* $(,)?
        }
    ) => {
        $crate::vocabulary! {
            $what;
            $(#[$meta])*
            pub enum $name<$life> {
                $(
                    $(#[$doc])*
                    $number => $variant {
                        $($(#[$field_doc])* $field $(by $codec)?: $type $(as $show)?),*
                    }
                ),*
            }
        }

        impl $name<'_> {
            /// Makes the call that it stands for.
            // A call that cannot be refused returns nothing.
            #[allow(clippy::unit_arg)]
            pub(crate) fn dispatch(self, machine: &mut $machine, now: $crate::Instant) -> $answer {
                match self {
                    $(Self::$variant { $($field),* } => {
                        let ($this, $now) = (machine, now);
                        $call
                    })*
                }
            }
        }
    };
    (
        $what:literal;
        $(#[$meta:meta])*
        pub enum $name:ident $(<$life:lifetime>)? {
            $(
                $(#[$doc:meta])*
                $number:literal => $variant:ident
                    $(($(
                        $(#[$part_meta:meta])* $part:ident: $part_type:ty $(as $part_show:ident)?
                    ),*))?
                    $({$(
                        $(#[$field_doc:meta])* $field:ident $(by $codec:ident)?: $type:ty $(as $show:ident)?
                    ),* $(,)?})?
            ),* $(,)?
        }
        $(retired $retired:tt)?
    ) => {
        $(#[$meta])*
        pub enum $name $(<$life>)? {
            $(
                $(#[$doc])*
                $variant $(($($(#[$part_meta])* $part_type),*))? $({$($(#[$field_doc])* $field: $type),*})?
            ),*
        }

        $crate::variants!($what, $name $(<$life>)? {
            $($number => $variant $(($($part),*))? $({$($field $(by $codec)?),*})?),*
        } $(retired $retired)?);

        impl $(<$life>)? core::fmt::Debug for $name $(<$life>)? {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$variant $(($($part),*))? $({$($field),*})? => {
                        $crate::vocabulary!(@debug f, $variant
                            $(($($part $(as $part_show)?),*))? $({$($field $(as $show)?),*})?)
                    })*
                }
            }
        }
    };
    (@debug $f:ident, $variant:ident $({})?) => { $f.write_str(stringify!($variant)) };
    (@debug $f:ident, $variant:ident ($($part:ident $(as $show:ident)?),*)) => {
        $f.debug_tuple(stringify!($variant))
            $(.field(&$crate::vocabulary!(@show $part $(as $show)?)))*
            .finish()
    };
    (@debug $f:ident, $variant:ident {$($field:ident $(as $show:ident)?),*}) => {
        $f.debug_struct(stringify!($variant))
            $(.field(stringify!($field), &$crate::vocabulary!(@show $field $(as $show)?)))*
            .finish()
    };
    (@show $field:ident) => { $field };
    (@show $field:ident as $show:ident) => { $show($field) };
}

/// The items of [`Journaled`](crate::journal::Journaled) for a machine without direct calls.
#[macro_export]
macro_rules! no_direct_calls {
    () => {
        type Call<'a> = core::convert::Infallible;
        type Answer<'a> = ();

        fn call<'a>(&mut self, _now: $crate::Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
            match call {}
        }

        fn is_misuse((): &()) -> bool {
            false
        }
    };
}
