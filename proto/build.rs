//! Generates the API from `proto/`, without a system `protoc`: messages, clients and servers; the [`Method`] enum, so
//! that an RPC without an action does not compile; and a `Debug` that shows no field marked `debug_redact`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, ServiceDescriptor, Value};

const PACKAGE: &str = "strongroom.v1";
/// The API, and what the vault writes into its rows.
const FOLDERS: [&str; 2] = ["proto/strongroom/v1", "proto/strongroom/store/v1"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    for file in proto_files()? {
        compiler.open_file(file)?;
    }
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let pool = compiler.descriptor_pool();
    let redacted: Vec<_> = messages(&pool).filter(|message| message.fields().any(|field| is_redacted(&field))).collect();
    tonic_prost_build::configure()
        .btree_map(".")
        .codec_path("crate::api::MessageCodec")
        .skip_debug(redacted.iter().map(|message| format!(".{}", message.full_name())).collect::<Vec<_>>())
        .compile_fds(compiler.file_descriptor_set())?;
    fs::write(out.join("methods.rs"), method_enum(&pool)?)?;
    fs::write(out.join("redaction.rs"), debug_impls(&redacted)?)?;
    Ok(())
}

fn proto_files() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    Ok(files.iter().map(|path| path.strip_prefix("proto").unwrap_or(Path::new(path)).to_owned()).collect())
}

fn services(pool: &DescriptorPool) -> impl Iterator<Item = ServiceDescriptor> + '_ {
    pool.services().filter(|service| service.package_name() == PACKAGE)
}

fn messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> + '_ {
    pool.all_messages().filter(|message| message.package_name() == PACKAGE && !message.is_map_entry())
}

fn is_redacted(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").as_deref() == Some(&Value::Bool(true))
}

/// `Method`: one variant for each RPC, named as the RPC is; the names are unique over all services.
fn method_enum(pool: &DescriptorPool) -> Result<String, std::fmt::Error> {
    let methods: Vec<_> = services(pool).flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    let mut code = String::new();
    writeln!(code, "/// Every RPC of the API. Generated from the protos, so that none can be forgotten.")?;
    writeln!(code, "#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]\npub enum Method {{")?;
    for method in &methods {
        writeln!(code, "    /// `{}`\n    {},", method.full_name(), method.name())?;
    }
    writeln!(code, "}}\n\nimpl Method {{\n    /// All of them.\n    pub const ALL: &'static [Self] = &[")?;
    methods.iter().try_for_each(|method| writeln!(code, "        Self::{},", method.name()))?;
    writeln!(
        code,
        "    ];\n\n    /// The RPC's name, e.g. `RevealSecret`.\n    #[must_use]\n    pub const fn name(self) -> &'static str {{\n        match self {{"
    )?;
    methods.iter().try_for_each(|method| writeln!(code, "            Self::{0} => \"{0}\",", method.name()))?;
    writeln!(
        code,
        "        }}\n    }}\n\n    /// Its path on the wire.\n    #[must_use]\n    pub const fn path(self) -> &'static str {{\n        match self {{"
    )?;
    for method in &methods {
        let service = method.parent_service().full_name().to_owned();
        writeln!(code, "            Self::{0} => \"/{service}/{0}\",", method.name())?;
    }
    writeln!(
        code,
        "        }}\n    }}\n\n    /// The RPC with this path on the wire.\n    #[must_use]\n    pub fn of_path(path: &str) -> Option<Self> {{\n        match path {{"
    )?;
    for method in &methods {
        let service = method.parent_service().full_name().to_owned();
        writeln!(code, "            \"/{service}/{0}\" => Some(Self::{0}),", method.name())?;
    }
    writeln!(code, "            _ => None,\n        }}\n    }}\n}}")?;
    Ok(code)
}

/// `Debug` for the messages that hold a secret: every other field as usual, the secret ones as a constant.
fn debug_impls(messages: &[MessageDescriptor]) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    for message in messages {
        writeln!(code, "impl std::fmt::Debug for {} {{", message.name())?;
        writeln!(code, "    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{")?;
        writeln!(code, "        f.debug_struct(\"{}\")", message.name())?;
        for field in message.fields() {
            let name = field.name();
            if is_redacted(&field) {
                writeln!(code, "            .field(\"{name}\", &format_args!(\"(redacted)\"))")?;
            } else {
                writeln!(code, "            .field(\"{name}\", &self.{name})")?;
            }
        }
        writeln!(code, "            .finish()\n    }}\n}}\n")?;
    }
    Ok(code)
}
