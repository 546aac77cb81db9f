//! The thread that prints the master's records. What cannot be written, such as with a full disk, is counted like what
//! was dropped, and told of once there is room again.

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::sync::mpsc::Receiver;

use super::queue::{Order, Waiting};
use super::record::{LogFormat, Record};

/// Prints on stdout until told to end.
pub(super) fn print(orders: &Receiver<Order>, waiting: &Waiting, format: LogFormat) {
    let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print_on(Stdout, orders, waiting, format, color);
}

fn print_on(out: impl Write, orders: &Receiver<Order>, waiting: &Waiting, format: LogFormat, color: bool) {
    let mut output = Output { out, format, color, is_torn: false };
    loop {
        match orders.recv() {
            Ok(Order::Print(record)) => {
                waiting.leave(&record);
                output.tell_dropped(waiting);
                if !output.put(&record) {
                    waiting.lose(&record);
                }
            }
            // Whoever asked may have gone on.
            Ok(Order::Flush(printed)) => drop(printed.try_send(())),
            Ok(Order::End) | Err(_) => return output.tell_dropped(waiting),
        }
    }
}

/// The process's stdout without a buffer: after an error it is known how much of a record was written.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Output<W> {
    out: W,
    format: LogFormat,
    color: bool,
    /// Whether the last line has no end.
    is_torn: bool,
}

impl<W: Write> Output<W> {
    /// Writes a record; false when that failed.
    fn put(&mut self, record: &Record) -> bool {
        let mut line = match self.format {
            LogFormat::Human => record.human(self.color),
            LogFormat::Json => record.json(),
        };
        line.push('\n');
        (!self.is_torn || self.write(b"\n")) && self.write(line.as_bytes())
    }

    fn write(&mut self, line: &[u8]) -> bool {
        let mut rest = line;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(written @ 1..) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.is_torn = !rest.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return false,
            }
        }
        true
    }

    fn tell_dropped(&mut self, waiting: &Waiting) {
        if let Some(dropped) = waiting.take_dropped()
            && !self.put(&dropped.record())
        {
            waiting.give_back(dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::queue;
    use super::*;

    /// A file on a disk that has room for so many bytes, which grows by so many after each failure.
    struct Disk {
        written: Vec<u8>,
        room: usize,
        grows: usize,
    }

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                self.room += self.grows;
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            self.written.extend_from_slice(bytes.get(..fits).expect("within"));
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record(message: &str) -> Record {
        Record {
            timestamp: "then".to_owned(),
            level: "info".to_owned(),
            role: "worker".to_owned(),
            id: 0,
            pid: 1,
            message: message.to_owned(),
            fields: serde_json::Map::new(),
        }
    }

    #[test]
    fn what_a_full_disk_costs_is_counted_and_joins_no_records() {
        // Room for the first record and a part of the second, and for all once the third has failed as well.
        let first = record("record 0").json().len() + 1;
        let mut disk = Disk { written: Vec::new(), room: first + 10, grows: 0 };
        let (logs, orders, waiting) = queue();
        (0..3).for_each(|number| logs.print(record(&format!("record {number}"))));
        assert!(logs.end());
        print_on(&mut disk, &orders, &waiting, LogFormat::Json, false);
        // The end could not be told either, so it is told now.
        disk.room = 10_000;
        let mut output = Output { out: &mut disk, format: LogFormat::Json, color: false, is_torn: true };
        output.tell_dropped(&waiting);
        assert!(output.put(&record("record 3")));
        let text = String::from_utf8(disk.written).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let records: Vec<Record> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(records.len(), 3, "one is torn: {text}");
        assert_eq!(records[0].message, "record 0");
        assert_eq!(records[1].fields["dropped"], 2);
        assert_eq!(records[2].message, "record 3");
        assert!(waiting.take_dropped().is_none());
    }

    #[test]
    fn a_log_goes_on_where_it_tore() {
        let first = record("record 0").json().len() + 1;
        let mut disk = Disk { written: Vec::new(), room: first + 10, grows: 100_000 };
        let (logs, orders, waiting) = queue();
        (0..4).for_each(|number| logs.print(record(&format!("record {number}"))));
        assert!(logs.end());
        print_on(&mut disk, &orders, &waiting, LogFormat::Json, false);
        let text = String::from_utf8(disk.written).expect("text");
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        let messages: Vec<_> = messages.map(|record| record.message).collect();
        assert_eq!(messages.len(), 4, "{text}");
        assert!(messages[1].contains("were dropped"), "{text}");
        assert_eq!(messages[3], "record 3");
    }
}
