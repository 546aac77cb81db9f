//! How long tokens live.

use std::time::Duration;

/// When a token given out by [`Socket::set_auth_token`](crate::Socket::set_auth_token) expires. An `exp` among the
/// claims (in seconds since 1970) beats it.
///
/// ```
/// use sc_sdk::Expires;
/// use std::time::Duration;
///
/// assert_eq!(Expires::in_days(1), Expires::in_hours(24));
/// assert_eq!(Expires::after(Duration::from_secs(60)), Expires::in_minutes(1));
/// assert_ne!(Expires::by_default(), Expires::in_days(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expires(Option<u32>);

impl Expires {
    /// After the host's `auth.default_expiry`, 24 hours unless configured.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::by_default();
    /// ```
    pub const fn by_default() -> Self {
        Expires(None)
    }

    /// After so many seconds.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_seconds(30);
    /// ```
    pub const fn in_seconds(seconds: u32) -> Self {
        Expires(Some(seconds))
    }

    /// After so many minutes.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_minutes(10);
    /// ```
    pub const fn in_minutes(minutes: u32) -> Self {
        Self::in_seconds(minutes.saturating_mul(60))
    }

    /// After so many hours.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_hours(24);
    /// ```
    pub const fn in_hours(hours: u32) -> Self {
        Self::in_seconds(hours.saturating_mul(60 * 60))
    }

    /// After so many days.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_days(10);
    /// ```
    pub const fn in_days(days: u32) -> Self {
        Self::in_seconds(days.saturating_mul(24 * 60 * 60))
    }

    /// After some time, in whole seconds.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::after(std::time::Duration::from_secs(90));
    /// ```
    pub fn after(time: Duration) -> Self {
        Self::in_seconds(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
    }

    pub(crate) fn seconds(self) -> Option<u32> {
        self.0
    }
}
