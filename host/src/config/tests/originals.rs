//! Options that SocketCluster 0.9 had.

use super::{Mode, file};

#[test]
fn options_that_the_original_had() {
    let settings = file("").fine();
    let classic = settings.worker.classic.transports;
    assert!(
        classic.polling && classic.websocket && settings.app.reboot_on_crash && settings.app.user.is_none()
    );
    assert_eq!(settings.worker.client.address_limit, None);
    assert!(settings.worker.sessions.http && settings.worker.sessions.ids.host.is_empty());
    let settings = file(
        "[app]\nuser = \"root\"\nreboot_on_crash = false\n[classic]\ntransports = [\"websocket\"]\n\
         [client]\naddress_limit = 20\n[session]\nhttp = false\nhost = \"h1.example\"",
    )
    .fine();
    assert_eq!(settings.app.user.map(|user| user.uid()), Some(0));
    assert!(!settings.app.reboot_on_crash && !settings.worker.classic.transports.polling);
    assert_eq!(settings.worker.client.address_limit, Some(20));
    assert_eq!(settings.balancer.session_ids.host, "h1.example");
    for (text, words) in [
        (
            "[classic]\ntransports = \"polling, websockets\"",
            vec!["holds \"websockets\"", "did you mean \"websocket\"?"],
        ),
        ("[classic]\ntransports = []", vec!["`classic.transports` is empty", "enabled = false"]),
        ("[session]\nhost = \"a_b\"", vec!["`session.host`", "letters, digits", "`app.host`"]),
        (
            "[app]\nuser = \"no-such-user\"",
            vec!["`app.user`: this machine has no user", "sc.toml line 2", "useradd"],
        ),
        ("[client]\naddress_limit = 20000000", vec!["`client.address_limit` must be from 0 to 10000000"]),
    ] {
        file(text).refused(&words);
    }
}

/// Who develops an app, or looks for a host, may be on a machine that lacks the user.
#[test]
fn a_user_that_is_not_here_matters_to_a_start_only() {
    for mode in [Mode::Dev, Mode::WithoutFiles] {
        let mut given = file("[app]\nuser = \"no-such-user\"");
        given.mode = mode;
        assert_eq!(given.fine().app.user, None);
    }
}
