//! The user that the host becomes when root starts it (`app.user`). Ports are bound and secrets read first; afterwards
//! every process of the host, the master included, runs as that user.

use std::ffi::CString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::{
    self, Gid, Group, Uid, getegid, geteuid, getgrouplist, getgroups, setgid, setgroups, setuid,
};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::config::Settings;
use crate::error::HostError;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// As the configuration calls it.
    pub(crate) name: String,
    uid: Uid,
    gid: Gid,
    /// Its other groups.
    groups: Vec<Gid>,
    /// The configuration names its group, and so means that one alone.
    names_group: bool,
    /// Its home, if it has one.
    pub(crate) home: Option<PathBuf>,
}

impl User {
    /// The user of a name or number, behind a colon perhaps its group: `www`, `www:media`, `1000:1000`.
    ///
    /// # Errors
    /// What is wrong with the text, and how to mend it.
    pub(crate) fn find(text: &str) -> Result<Self, (String, String)> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let unknown = |what: &str, name: &str, add: &str| {
            (
                format!("this machine has no {what} {}", name.escape_debug()),
                format!("correct it, or add it: {add} {name}"),
            )
        };
        let known = match user.parse() {
            Ok(uid) => unistd::User::from_uid(Uid::from_raw(uid)),
            Err(_) => unistd::User::from_name(user),
        };
        let known = known.ok().flatten();
        let uid = match (&known, user.parse()) {
            (Some(known), _) => known.uid,
            (None, Ok(uid)) => Uid::from_raw(uid),
            (None, Err(_)) => return Err(unknown("user", user, "useradd --system")),
        };
        let gid = match (group, &known) {
            (Some(group), _) => match (Group::from_name(group).ok().flatten(), group.parse()) {
                (Some(group), _) => group.gid,
                (None, Ok(gid)) => Gid::from_raw(gid),
                (None, Err(_)) => return Err(unknown("group", group, "groupadd --system")),
            },
            (None, Some(known)) => known.gid,
            (None, None) => {
                let why = format!("the user {uid} has no name here, and so no group");
                return Err((why, format!("say its group as well: {uid}:{uid}")));
            }
        };
        // Whoever says a group wants that one alone.
        let groups = match (&known, group) {
            (Some(known), None) => CString::new(known.name.as_str())
                .ok()
                .and_then(|name| getgrouplist(&name, gid).ok())
                .unwrap_or_else(|| vec![gid]),
            _ => vec![gid],
        };
        let home = known.map(|known| known.dir).filter(|home| home.is_dir());
        Ok(User { name: text.to_owned(), uid, gid, groups, names_group: group.is_some(), home })
    }

    /// Its number.
    pub(crate) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Has this process, and all that it starts, be this user's for good, and gives it the folders that the host
    /// writes to where they do not exist yet. Must be called while there is one thread only. Says whether it was
    /// another user's.
    ///
    /// # Errors
    /// When this process is neither root's nor that user's, or has other groups than the one that is named.
    pub(crate) fn take_over(&self, settings: &Settings) -> Result<bool, HostError> {
        let was = geteuid();
        let groups = self.other_groups().map_err(HostError::os("looking up the groups of this process"))?;
        if was == self.uid && groups.is_none() {
            return Ok(false);
        }
        if !was.is_root() {
            let runs = match groups {
                Some(groups) if was == self.uid => format!("with {groups}"),
                _ => format!("as the user {was}"),
            };
            return Err(HostError::NotRoot { user: self.name.clone(), runs });
        }
        for folder in settings.data_dir.iter().chain(&settings.app.runtime_dir) {
            self.give(folder).map_err(HostError::os("making a folder for app.user"))?;
        }
        let become_it = || -> io::Result<()> {
            setgroups(&self.groups)?;
            setgid(self.gid)?;
            setuid(self.uid)?;
            if !self.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
                return Err(io::Error::other("root can be had again"));
            }
            // Children are given compiled components by a path through this process, which the kernel hides from now
            // on.
            Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
        };
        become_it().map_err(HostError::os("becoming app.user"))?;
        Ok(was != self.uid)
    }

    /// The groups of this process, for people, if they are not the one that the configuration names. Where it names
    /// none, whoever started this process has chosen them.
    fn other_groups(&self) -> io::Result<Option<String>> {
        if !self.names_group {
            return Ok(None);
        }
        let mut groups = getgroups()?;
        groups.push(getegid());
        groups.sort_unstable_by_key(|group| group.as_raw());
        groups.dedup();
        let shown: Vec<_> = groups.iter().map(ToString::to_string).collect();
        Ok((groups != [self.gid]).then(|| format!("the groups {}", shown.join(", "))))
    }

    /// Makes a folder that is this user's alone. One that exists stays as it is.
    fn give(&self, folder: &Path) -> io::Result<()> {
        // A slash behind the name would have the kernel follow a link of that name.
        let folder: PathBuf = folder.components().collect();
        if folder.exists() {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(&folder)?;
        hand_over(&folder, self.uid, self.gid)
    }
}

/// Gives a folder away that this process has just made. Whoever may write to the folder around it may have put
/// something else in its place since: a link, or a folder with contents of others.
fn hand_over(folder: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
    let is_ours = opened.metadata()?.uid() == geteuid().as_raw();
    let is_empty = Dir::read_from(&opened)?
        .all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")));
    if !is_ours || !is_empty {
        let said = format!("{} was replaced while it was being made", folder.display());
        return Err(io::Error::other(said));
    }
    fchown(&opened, Some(uid.as_raw()), Some(gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = User::find("root").expect("root");
        assert_eq!((root.uid(), root.gid.as_raw()), (0, 0));
        assert!(root.groups.contains(&Gid::from_raw(0)));
        assert_eq!(User::find("0").expect("root").uid, root.uid);
        let numbers = User::find("4294900000:77").expect("numbers need no name");
        assert_eq!((numbers.uid(), numbers.gid.as_raw()), (4_294_900_000, 77));
        assert_eq!(numbers.groups, [Gid::from_raw(77)]);
    }

    /// Another user may have put something else where root has just made a folder.
    #[test]
    fn only_a_folder_just_made_is_given_away() {
        let place = tempfile::tempdir().expect("a folder");
        let (uid, gid) = (geteuid(), getegid());
        let fresh = place.path().join("fresh");
        std::fs::create_dir(&fresh).expect("a folder");
        hand_over(&fresh, uid, gid).expect("it is as it was made");
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&fresh, &link).expect("a link");
        hand_over(&link, uid, gid).expect_err("a link");
        std::fs::write(fresh.join("of-others"), "").expect("a file");
        let error = hand_over(&fresh, uid, gid).expect_err("a folder with contents");
        assert!(error.to_string().contains("was replaced while it was being made"), "{error}");
        hand_over(&fresh.join("of-others"), uid, gid).expect_err("a file");
    }

    #[test]
    fn what_is_not_there_is_named_with_how_to_add_it() {
        for (text, why, help) in [
            ("no-such-user", "no user no-such-user", "useradd --system no-such-user"),
            ("root:no-such-group", "no group no-such-group", "groupadd"),
            ("4294900000", "has no name here", "4294900000:4294900000"),
            ("", "no user", "useradd"),
        ] {
            let (said, mend) = User::find(text).expect_err(text);
            assert!(said.contains(why) && mend.contains(help), "{text}: {said}; {mend}");
        }
    }
}
