//! Parse, dispatch.
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use strongroom::config::Config;
use strongroom::model::{SecretBytes, SpiffeId};
use strongroom::server::{self, Bound, Init, Manner};

#[global_allocator]
static ALLOCATOR: strongroom::memory::WipingAllocator = strongroom::memory::WipingAllocator;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Server {
        #[arg(long)]
        config: PathBuf,
    },
    Init {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        passphrase_file: PathBuf,
        #[arg(long)]
        administrator: Vec<SpiffeId>,
        #[arg(long)]
        single_administrator: bool,
    },
    Dev {
        #[arg(long)]
        dir: Option<PathBuf>,
        #[arg(long, default_value = "127.0.0.1:7443")]
        listen: std::net::SocketAddr,
        #[arg(long)]
        demo: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hardening = strongroom::memory::harden();
    match Args::parse().command {
        Command::Server { config } => {
            let config = Config::load(&config)?;
            server::log_to_stderr(config.log);
            let bound = Bound::new(config, Manner { hardening, reflection: false }).await?;
            eprintln!("strongroom: serving on {}, sealed", bound.address()?);
            Ok(bound.serve(server::stop_signal()?).await?)
        }
        Command::Init { config, passphrase_file, administrator, single_administrator } => {
            let config = Config::load(&config)?;
            let passphrase = SecretBytes::new(std::fs::read(passphrase_file)?.trim_ascii_end().to_vec());
            let pins = server::init(
                &config,
                Init { passphrase, cost: strongroom::seal::Argon2Parameters::DEFAULT, administrators: administrator, single_administrator },
            )
            .await?;
            println!("vault_id = \"{}\"\naudit_public_key = \"{}\"", pins.vault_id, hex::encode(pins.audit_public_key));
            Ok(())
        }
        Command::Dev { dir, listen, demo } => strongroom::dev::run(strongroom::dev::Dev { folder: dir, listen, demo, hardening }).await,
    }
}
