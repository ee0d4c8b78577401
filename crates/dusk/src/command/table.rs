//! All commands. A line here is all that a command needs to be known to the parser and the help.

#[cfg(feature = "lab")]
use super::lab;
use super::{
    Argument, Command, Count, Flag, action, adopt, content, device, explain, group, history, init, join, master,
    recover, role, rollout, rpcd, run, section, show, status, undo, user,
};

/// What every command takes.
pub const COMMON: &[Flag] =
    &[Flag { long: "help", short: Some('h'), value: None, help: "Say what the command does and takes" }];

/// Where the node's files lie.
const DIR: Flag = option("dir", "DIRECTORY", "where the node's files lie (/etc/dusk)");
/// Who signs.
const USER: Flag = option("user", "NAME", "who signs (DUSK_USER, or the only user whose key is here)");
const JSON: Flag = switch("json", "print JSON, an object a line");
const OUTPUT: Flag = Flag { long: "output", short: Some('o'), value: Some("FORM"), help: "table or json" };
const YES: Flag = Flag { long: "yes", short: Some('y'), value: None, help: "Do not ask" };
const NOTE: Flag = option("note", "TEXT", "why, for those who read the log");
const DRY_RUN: Flag = switch("dry-run", "show what would change on every device, and sign nothing");
const ROLLOUT: Flag = option("rollout", "NAME", "let it go out in stages, under this name");
const STAGES: Flag = option("stages", "LIST", "the stages of the rollout (1,5%,25%,all)");
const HEALTHY: Flag = option("healthy", "PERCENT", "how many of a stage must be well before the next one (90)");
const ROLLOUT_PATIENCE: Flag = option("patience", "SECONDS", "how long a stage may take to be well (600)");
const WINDOW: Flag = option("window", "FROM-TO", "when stages may begin, in UTC, such as 02:00-04:30");
const ROLLOUT_NAME: Argument = one("name", "its name, or the path of its section");
const REQUEST: Flag = option("request", "FILE", "the request, carried here by hand");
const SECRETS: Flag = switch("secrets", "trust the device with its groups' secrets");
const GROUP: Flag =
    option("group", "GROUP", "a group of the device; may be given more than once, the last counts most");
const DEVICE: Argument = one("device", "a device's name or id");

const fn option(long: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, value: Some(value), help }
}

const fn switch(long: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, value: None, help }
}

const fn one(name: &'static str, help: &'static str) -> Argument {
    Argument { name, help, count: Count::One }
}

const fn perhaps(name: &'static str, help: &'static str) -> Argument {
    Argument { name, help, count: Count::Optional }
}

/// The commands, in the order in which the help lists them.
pub const COMMANDS: &[Command] = &[
    Command {
        words: "init",
        summary: "Make a fleet, with this device as its master",
        arguments: &[],
        flags: &[
            DIR,
            option("name", "NAME", "what the fleet is called (home)"),
            option("user", "NAME", "your name in it"),
            option("device", "NAME", "what this device is called (master)"),
            option("address", "HOST:PORT", "where other devices find this one"),
        ],
        run: init::run,
    },
    Command {
        words: "run",
        summary: "Run the node, until it is stopped",
        arguments: &[],
        flags: &[
            DIR,
            option("listen", "ADDRESS:PORT", "where to listen, over UDP and TCP ([::]:4747)"),
            option("root", "DIRECTORY", "the root of the device's files and ubus (/), where a device is played"),
            option("metrics", "[ADDRESS:]PORT", "where Prometheus may ask, on this machine if no address is said"),
        ],
        run: run::run,
    },
    Command {
        words: "status",
        summary: "Show the fleet: who is there, how they fare, what became of the newest change",
        arguments: &[],
        flags: &[DIR, JSON, switch("watch", "go on, and show what becomes different")],
        run: status::run,
    },
    Command {
        words: "show",
        summary: "Show a device: what it says of itself, and how it fared for a day and for eight weeks",
        arguments: &[DEVICE],
        flags: &[DIR, JSON],
        run: show::run,
    },
    Command {
        words: "drift",
        summary: "Show what devices have otherwise than the fleet asks",
        arguments: &[perhaps("device", "a device's name or id; all, if it is not said")],
        flags: &[DIR],
        run: show::drift,
    },
    Command {
        words: "invite",
        summary: "Make a join key: the right to ask to join",
        arguments: &[],
        flags: &[
            DIR,
            USER,
            option("group", "GROUP", "the group that devices come into"),
            option("uses", "COUNT", "how many devices may come (1)"),
            option("days", "COUNT", "for how many days (7)"),
            option("hardware", "BOARD|MAC", "which hardware may come; any, if it is not said"),
            switch("automatic", "let devices in without asking anybody, without secrets"),
            option("address", "HOST:PORT", "where devices find this one"),
            option("file", "FILE", "write the key there"),
            switch("qr", "print the key as a QR code too"),
        ],
        run: join::invite,
    },
    Command {
        words: "uninvite",
        summary: "Take a join key back",
        arguments: &[one("key", "its public half, as the log has it")],
        flags: &[DIR, USER],
        run: join::uninvite,
    },
    Command {
        words: "join",
        summary: "Ask to join a fleet with this device",
        arguments: &[perhaps("key", "the join key; asked for, if it is not said")],
        flags: &[
            DIR,
            option("file", "FILE", "where the join key is"),
            option("name", "NAME", "what the device would like to be called"),
            option("request", "FILE", "write the request there too, to be carried by hand"),
        ],
        run: join::join,
    },
    Command {
        words: "adopt",
        summary: "Take a running device into the fleet over SSH",
        arguments: &[one("host", "as ssh takes it, such as root@192.168.1.1")],
        flags: &[
            DIR,
            USER,
            GROUP,
            SECRETS,
            option("name", "NAME", "what it is called (what it calls itself)"),
            option("address", "HOST:PORT", "where the device finds this one"),
            option("program", "FILE", "the program, built for the device (this one)"),
            option("ssh", "OPTION", "an option for ssh, as behind its -o; may be given more than once"),
            option("root", "DIRECTORY", "where the device's files begin (/)"),
        ],
        run: adopt::run,
    },
    Command {
        words: "device list",
        summary: "List the devices, and those who wait",
        arguments: &[],
        flags: &[DIR, OUTPUT],
        run: device::list,
    },
    Command {
        words: "device approve",
        summary: "Let a device in that asked",
        arguments: &[perhaps("device", "as much of its id as makes it the only one")],
        flags: &[DIR, USER, option("name", "NAME", "what it is called"), GROUP, SECRETS, REQUEST],
        run: device::approve,
    },
    Command {
        words: "device role",
        summary: "Let a device vote, as master, backup or witness; or let it vote no more",
        arguments: &[DEVICE, one("role", "master, backup, witness or none")],
        flags: &[DIR, USER, option("address", "HOST:PORT", "where others find it; may be given more than once")],
        run: role::set,
    },
    Command {
        words: "device rekey",
        summary: "Give a device that was reset its own record back",
        arguments: &[DEVICE],
        flags: &[DIR, USER, option("by", "ID", "which of those who wait it is"), SECRETS, REQUEST],
        run: device::rekey,
    },
    Command {
        words: "device lost",
        summary: "Take a lost device's key away",
        arguments: &[DEVICE],
        flags: &[DIR, USER, YES, option("since", "RECORD", "what it wrote from this record on is void")],
        run: device::lost,
    },
    Command {
        words: "device remove",
        summary: "Remove a device for good",
        arguments: &[DEVICE],
        flags: &[DIR, USER, YES],
        run: device::remove,
    },
    Command {
        words: "group seal",
        summary: "Make a group's next key, for its members",
        arguments: &[one("group", "the group")],
        flags: &[DIR, USER],
        run: group::seal,
    },
    Command {
        words: "group secret",
        summary: "Seal a secret to a group's key, to be put into a section",
        arguments: &[one("group", "the group")],
        flags: &[DIR],
        run: group::secret,
    },
    Command {
        words: "user list",
        summary: "List the users and what they may do",
        arguments: &[],
        flags: &[DIR, OUTPUT],
        run: user::list,
    },
    Command {
        words: "user add",
        summary: "Make a user",
        arguments: &[one("name", "what they are called")],
        flags: &[
            DIR,
            USER,
            option("right", "SECTIONS:VERBS[:GROUP]", "what they may do, such as groups/ap/**:put+delete"),
        ],
        run: user::add,
    },
    Command {
        words: "user password",
        summary: "Change one's password",
        arguments: &[],
        flags: &[DIR, USER],
        run: user::password,
    },
    Command {
        words: "user revoke",
        summary: "Take a user's key away, with the keys that it added",
        arguments: &[one("name", "what they are called")],
        flags: &[
            DIR,
            USER,
            YES,
            option("since", "RECORD", "what the key wrote from this record on is void"),
            option("entries", "ENTRY", "keys that it added from this entry on go with it"),
        ],
        run: user::revoke,
    },
    Command {
        words: "recover",
        summary: "Take the fleet back with the recovery phrase",
        arguments: &[],
        flags: &[
            DIR,
            YES,
            option("user", "NAME", "who shall have it"),
            option("keep", "ENTRY", "the last entry to be kept (the last there is)"),
            option("since", "RECORD", "what users wrote from this record on is void (none)"),
        ],
        run: recover::run,
    },
    Command {
        words: "set",
        summary: "Change options",
        arguments: &[
            one("target", "group/NAME, device/NAME or policy/NAME"),
            Argument { name: "change", help: "path=value, such as network.lan.ipaddr=192.0.2.1", count: Count::Many },
        ],
        flags: &[DIR, USER, YES, NOTE, DRY_RUN, ROLLOUT, STAGES, HEALTHY, ROLLOUT_PATIENCE, WINDOW],
        run: section::set,
    },
    Command {
        words: "edit",
        summary: "Change a section in the editor; an empty one is deleted",
        arguments: &[one("section", "such as group/ap/config/wireless")],
        flags: &[DIR, USER, YES, NOTE, DRY_RUN, ROLLOUT, STAGES, HEALTHY, ROLLOUT_PATIENCE, WINDOW],
        run: section::edit,
    },
    Command {
        words: "pause",
        summary: "Have a device keep what it has, while somebody works on it",
        arguments: &[DEVICE],
        flags: &[DIR, USER, YES, NOTE, option("hours", "COUNT", "for how long that it runs (until `dusk resume`)")],
        run: action::pause,
    },
    Command {
        words: "resume",
        summary: "End a pause",
        arguments: &[DEVICE],
        flags: &[DIR, USER, YES, NOTE],
        run: action::resume,
    },
    Command {
        words: "action",
        summary: "Have devices do something once",
        arguments: &[
            one("target", "group/NAME, device/NAME or policy/NAME"),
            one("do", "reboot, log or command"),
            Argument { name: "text", help: "the line to log, or the command to run", count: Count::Any },
        ],
        flags: &[DIR, USER, YES, NOTE, option("seconds", "COUNT", "how long it may take (60)")],
        run: action::act,
    },
    Command {
        words: "undo",
        summary: "Put back what a change replaced, with what was signed together with it",
        arguments: &[Argument { name: "change", help: "the number of its record, or its id", count: Count::Many }],
        flags: &[
            DIR,
            USER,
            YES,
            NOTE,
            DRY_RUN,
            switch("only", "leave what was signed together with it"),
            ROLLOUT,
            STAGES,
            HEALTHY,
            ROLLOUT_PATIENCE,
            WINDOW,
        ],
        run: undo::run,
    },
    Command {
        words: "rollout list",
        summary: "List the changes that go out in stages",
        arguments: &[],
        flags: &[DIR, OUTPUT],
        run: rollout::list,
    },
    Command {
        words: "rollout show",
        summary: "Show the stages of a rollout and who is in them",
        arguments: &[ROLLOUT_NAME],
        flags: &[DIR],
        run: rollout::show,
    },
    Command {
        words: "rollout halt",
        summary: "Let a rollout go no further",
        arguments: &[ROLLOUT_NAME],
        flags: &[DIR, USER, YES, switch("back", "take it back where it is, too")],
        run: rollout::halt,
    },
    Command {
        words: "rollout resume",
        summary: "Let a halted rollout go on",
        arguments: &[ROLLOUT_NAME],
        flags: &[DIR, USER],
        run: rollout::resume,
    },
    Command {
        words: "rollout advance",
        summary: "Let the next stage begin whatever came of this one",
        arguments: &[ROLLOUT_NAME],
        flags: &[DIR, USER],
        run: rollout::advance,
    },
    Command {
        words: "promote",
        summary: "Name who votes from here on: the master first, then backups",
        arguments: &[Argument { name: "device", help: "devices' names or ids", count: Count::Many }],
        flags: &[
            DIR,
            USER,
            YES,
            option("witness", "DEVICE", "a device that votes and serves nobody"),
            switch("alone", "decide it here, where no majority of the voters is left"),
        ],
        run: master::promote,
    },
    Command {
        words: "stranded",
        summary: "List what a lost master had decided and this fleet lacks, or what came to nothing here",
        arguments: &[perhaps("file", "the lost master's directory, its backup or export")],
        flags: &[DIR, OUTPUT, switch("offer", "offer it again, as its authors signed it")],
        run: master::stranded,
    },
    Command {
        words: "backup",
        summary: "Write this master into a file",
        arguments: &[one("file", "where to")],
        flags: &[DIR, switch("with-key", "with the node's secret key: whoever has the file is this node")],
        run: master::backup,
    },
    Command {
        words: "restore",
        summary: "Bring a master back from a backup; it follows before it votes",
        arguments: &[one("file", "the backup")],
        flags: &[DIR, option("key", "FILE", "the node's secret key, where the backup has none")],
        run: master::restore,
    },
    Command {
        words: "section",
        summary: "Print a section, secrets hidden",
        arguments: &[one("section", "such as groups/ap/config/wireless")],
        flags: &[DIR],
        run: section::show,
    },
    Command {
        words: "log",
        summary: "List what was decided, the last first",
        arguments: &[],
        flags: &[DIR, OUTPUT, option("count", "COUNT", "how many (20)")],
        run: history::list,
    },
    Command {
        words: "export",
        summary: "Write the log for a backup, or for others to check",
        arguments: &[perhaps("file", "where to; to standard output, if it is not said")],
        flags: &[DIR],
        run: history::export,
    },
    Command {
        words: "explain",
        summary: "Say which section set an option of a device, and who signed it",
        arguments: &[DEVICE, one("option", "its path, such as wireless.@radio[band=2g].channel")],
        flags: &[DIR, option("config", "DIRECTORY", "the device's configuration files, to see what it has")],
        run: explain::run,
    },
    Command {
        words: "check",
        summary: "Say what is wrong with the content of a section, and what in it runs code",
        arguments: &[
            Argument { name: "section", help: "the section, as in groups/ap/config/wireless", count: Count::One },
            Argument {
                name: "file",
                help: "the content; standard input where it is not given",
                count: Count::Optional,
            },
        ],
        flags: &[],
        run: content::check,
    },
    Command {
        words: "import here",
        summary: "Print this device's configuration as contents of sections",
        arguments: &[
            Argument { name: "scope", help: "whose sections they are to be, as in groups/ap", count: Count::One },
            Argument { name: "package", help: "the packages; all where none is given", count: Count::Any },
        ],
        flags: &[Flag { long: "secrets", short: None, value: None, help: "Print the secrets as well" }],
        run: content::import_here,
    },
    #[cfg(feature = "lab")]
    Command {
        words: "lab",
        summary: "Bring up a fleet to play with, on this machine, until Ctrl-C",
        arguments: &[perhaps("nodes", "how many: a master, a backup and devices (5)")],
        flags: &[switch("remove", "take away a lab that was killed")],
        run: lab::run,
    },
    Command {
        words: "rpcd",
        summary: "Be rpcd's object dusk",
        arguments: &[
            Argument { name: "verb", help: "list or call", count: Count::One },
            Argument {
                name: "method",
                help: "the method to call, with arguments on standard input",
                count: Count::Optional,
            },
        ],
        flags: &[],
        run: rpcd::execute,
    },
];
