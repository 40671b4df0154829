//! Names of an enum's variants.

/// Gives an enum `ALL`, its variants in this order, and `name`, the text that stands for one. A variant that is left out
/// does not compile.
macro_rules! names {
    ($(#[$doc:meta])* $visible:vis $kind:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $kind {
            /// All of them.
            $visible const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name of each.
            $(#[$doc])*
            $visible const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}
