//! `arizuko usage`: what models were used, and what folders, persons and the instance may spend on them.

use crate::{
    cli::{CapArgs, Since, Usage, UsageCommand},
    failure::{Exit, Failure},
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use kit::{Clock, Peer};
use proto::{
    Daemon, Nothing,
    routd::{self, Cap, CapLimits, CapOf, Caps, SetCap, Spent, UsageQuery, UsageRow},
};

/// Rows that are asked for at a time.
const PAGE: u32 = 500;

pub(super) async fn run(instance: &Instance, args: Usage, output: Output) -> Result<(), Failure> {
    match args.command {
        None => show(instance, args, output).await,
        Some(UsageCommand::Caps) => {
            let routd = routd(instance).await?;
            let caps = routd.call(&routd::LIST_CAPS, &Nothing {}).await?;
            output.print(&caps, |Caps { caps }| {
                let rows: Vec<_> = caps.iter().map(cap_row).collect();
                table(&["WHOSE", "DAY", "MONTH", "SPENT TODAY", "SPENT THIS MONTH"], &rows)
            })
        }
        Some(UsageCommand::Cap { of, daily, monthly, daily_tokens, monthly_tokens, none }) => {
            let limits = CapLimits {
                daily_micro_dollars: daily,
                monthly_micro_dollars: monthly,
                daily_tokens,
                monthly_tokens,
            };
            if limits.is_none() && !none {
                let line = "say what it may spend, such as --daily 5, or --none for no cap";
                return Err(Failure::new(Exit::Usage, line));
            }
            let routd = routd(instance).await?;
            let cap = routd.call(&routd::SET_CAP, &SetCap { of: whose(of)?, limits }).await?;
            output.print(&cap, |cap| match cap.limits.is_none() {
                true => format!("{} has no cap of its own any more", named(&cap.of)),
                false => format!(
                    "{} may spend {} a day and {} a month; spent today: {}",
                    named(&cap.of),
                    limit(cap.limits.daily_micro_dollars, cap.limits.daily_tokens),
                    limit(cap.limits.monthly_micro_dollars, cap.limits.monthly_tokens),
                    spent(&cap.today)
                ),
            })
        }
    }
}

/// Whose cap the command line means.
fn whose(args: CapArgs) -> Result<CapOf, Failure> {
    match args {
        CapArgs { folder: Some(folder), .. } => Ok(CapOf::Folder(folder)),
        CapArgs { person: Some(address), .. } => {
            let parsed = format!("person:{address}").parse();
            parsed.map_err(|error: routd::OwnerError| Failure::new(Exit::Usage, error.to_string()))
        }
        CapArgs { .. } => Ok(CapOf::Instance),
    }
}

fn named(of: &CapOf) -> String {
    match of {
        CapOf::Instance => "the whole instance".into(),
        CapOf::Folder(folder) => format!("{folder} with the folders below it"),
        CapOf::Person(address) => address.clone(),
    }
}

async fn routd(instance: &Instance) -> Result<Peer, Failure> {
    Ok(Session::begin(instance).await?.peer(Daemon::Routd))
}

async fn show(instance: &Instance, args: Usage, output: Output) -> Result<(), Failure> {
    let since = args.since.map(|since| match since {
        Since::Time(time) => time,
        Since::Ago(ago) => {
            let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Clock::real().now().plus(ago.saturating_neg())
        }
    });
    let routd = routd(instance).await?;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let (folder, by) = (args.folder.clone(), args.by);
        let query = UsageQuery { folder, by, since, after, limit: Some(PAGE) };
        let page = routd.call(&routd::USAGE, &query).await?;
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    output.print(&rows, |rows| {
        let row = |row: &UsageRow| {
            let mut names: Vec<String> = [&row.day, &row.folder, &row.person, &row.model]
                .map(|name| if name.is_empty() { "-".into() } else { name.clone() })
                .into();
            let unpriced = if row.unpriced_requests > 0 { "+ ?" } else { "" };
            names.extend([
                row.requests.to_string(),
                row.input_tokens.to_string(),
                row.output_tokens.to_string(),
                row.cache_read_tokens.to_string(),
                row.cache_write_tokens.to_string(),
                format!("{}{unpriced}", money(row.micro_dollars)),
            ]);
            names
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        let head = [
            "DAY",
            "FOLDER",
            "PERSON",
            "MODEL",
            "REQUESTS",
            "INPUT",
            "OUTPUT",
            "CACHE READ",
            "CACHE WRITE",
            "COST",
        ];
        table(&head, &rows)
    })
}

fn cap_row(cap: &Cap) -> Vec<String> {
    let limits = &cap.limits;
    vec![
        cap.of.to_string(),
        limit(limits.daily_micro_dollars, limits.daily_tokens),
        limit(limits.monthly_micro_dollars, limits.monthly_tokens),
        spent(&cap.today),
        spent(&cap.this_month),
    ]
}

fn limit(micro_dollars: Option<u64>, tokens: Option<u64>) -> String {
    match (micro_dollars.map(money), tokens) {
        (Some(money), Some(tokens)) => format!("{money}, {tokens} tokens"),
        (Some(money), None) => money,
        (None, Some(tokens)) => format!("{tokens} tokens"),
        (None, None) => "anything".into(),
    }
}

fn spent(spent: &Spent) -> String {
    format!("{}, {} tokens", money(spent.micro_dollars), spent.tokens)
}

/// Millionths of a dollar as dollars, to the hundredth of a cent.
fn money(micro_dollars: u64) -> String {
    let hundredths = micro_dollars.div_ceil(100);
    format!("${}.{:04}", hundredths / 10_000, hundredths % 10_000)
}
