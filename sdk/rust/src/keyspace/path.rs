//! Ways through a tree.

/// A way through a tree: one key, or several.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # fn example(worker: &Worker) {
/// let tree = worker.global();
/// tree.set("visits", 1);
/// tree.set(["users", "bob"], json!({ "age": 40 }));
/// tree.set(vec!["users".to_string(), "alice".to_string()], json!({}));
/// # }
/// ```
pub trait IntoPath {
    /// The keys, from the root on.
    ///
    /// ```
    /// use sc_sdk::IntoPath;
    /// assert_eq!(["users", "bob"].into_path(), ["users", "bob"]);
    /// ```
    fn into_path(self) -> Vec<String>;
}

impl IntoPath for &str {
    fn into_path(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoPath for String {
    fn into_path(self) -> Vec<String> {
        vec![self]
    }
}

impl IntoPath for &String {
    fn into_path(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl<K: Into<String>, const N: usize> IntoPath for [K; N] {
    fn into_path(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<K: AsRef<str>> IntoPath for &[K] {
    fn into_path(self) -> Vec<String> {
        self.iter().map(|key| key.as_ref().to_owned()).collect()
    }
}

impl<K: Into<String>> IntoPath for Vec<K> {
    fn into_path(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

/// A key or an index of a range: [`Tree::get_range`](crate::Tree::get_range).
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # fn example(worker: &Worker) {
/// worker.global().get_range::<Json>("todos", 0, Some(10));
/// worker.tree("users").get_range::<Json>(Vec::<String>::new(), "a", None::<&str>);
/// # }
/// ```
pub trait IntoKey {
    /// The key.
    ///
    /// ```
    /// use sc_sdk::IntoKey;
    /// assert_eq!(7u32.into_key(), "7");
    /// ```
    fn into_key(self) -> String;
}

impl IntoKey for &str {
    fn into_key(self) -> String {
        self.to_owned()
    }
}

impl IntoKey for String {
    fn into_key(self) -> String {
        self
    }
}

impl IntoKey for &String {
    fn into_key(self) -> String {
        self.clone()
    }
}

macro_rules! indexes {
    ($($number:ty),*) => {$(
        impl IntoKey for $number {
            fn into_key(self) -> String {
                self.to_string()
            }
        }

        impl IntoPath for $number {
            fn into_path(self) -> Vec<String> {
                vec![self.to_string()]
            }
        }
    )*};
}
indexes!(i32, u32, u64, usize);
