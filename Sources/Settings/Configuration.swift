// The configuration of the CA: every setting with its type, unit and default.

public import PKI

/// The configuration of the CA, from `ca.config.yml`, environment and flags, checked.
public struct Configuration: Sendable, Equatable {
    /// Who is a node on a plain loopback listener.
    public enum ClientsMode: String, Sendable, CaseIterable {
        /// Anyone who can connect.
        case all
        /// Those that registered.
        case register
        /// Only those added by hand.
        case manual
    }

    /// How peers on the network prove who they are.
    public enum Security: String, Sendable, CaseIterable {
        /// By their address alone.
        case plain
        /// By their CURVE key.
        case curve
    }

    /// The kinds of key that a CA can have; the raw values are those of the seed's derivation.
    public enum AuthorityKeyType: String, Sendable, CaseIterable {
        case ecP256 = "ec-p256"
        case ecP384 = "ec-p384"
        case ed25519
        case rsa2048 = "rsa-2048"
        case rsa3072 = "rsa-3072"
        case rsa4096 = "rsa-4096"
    }

    /// Where the CA key is between two starts.
    public enum KeyStorage: String, Sendable, CaseIterable {
        /// In `ca.key`, protected by the file's mode.
        case file
        /// In `ca.key`, encrypted with the password in `passwordFile` or in a credential.
        case encrypted
        /// Nowhere: it is derived from the seed at each start.
        case seed
    }

    /// Which revocations can be taken back.
    public enum Release: String, Sendable, CaseIterable {
        /// Only certificateHold (RFC 5280).
        case hold
        /// Whatever is not a compromise, as in the reference.
        case any
    }

    /// What the OCSP bridge does with a request's nonce.
    public enum OCSPNonce: String, Sendable, CaseIterable {
        /// Repeats it in the answer.
        case echo
        /// Answers as if there were none.
        case ignore
        /// Refuses requests without one.
        case require
    }

    /// How log lines look.
    public enum LogFormat: String, Sendable, CaseIterable {
        case auto
        case plain
        case json
    }

    /// The least important messages that are logged.
    public enum LogLevel: String, Sendable, CaseIterable {
        case trace
        case debug
        case info
        case notice
        case warning
        case error
        case critical
    }

    /// A node that is known by its address alone.
    public struct FixedNode: Sendable, Equatable {
        public let address: HostAddress
        /// The node's CN.
        public let node: String

        public init(address: HostAddress, node: String) {
            self.address = address
            self.node = node
        }
    }

    /// An address that the CA listens on, for nodes and for registration.
    public struct Listener: Sendable, Equatable {
        public let address: HostAddress
        public let security: Security

        public init(address: HostAddress, security: Security) {
            self.address = address
            self.security = security
        }
    }

    /// `limits`: what one identity, one address and all together may take of a relay. Where 0 is allowed it is no limit.
    public struct Limits: Sendable, Equatable {
        /// `connections`, `connections_per_address`; `connection_rate`: new ones a second and address.
        public var connections = 4_096
        public var connectionsPerAddress = 256
        public var connectionRate = 200
        /// `handshake`: in seconds.
        public var handshake = 2
        /// `message_size`: the longest frame, in KiB.
        public var messageSize = 1_024
        /// `requests`, `requests_per_identity`, `requests_per_address`: in flight.
        public var requests = 10_000
        public var requestsPerIdentity = 5_000
        public var requestsPerAddress = 5_000
        /// `bytes_per_identity`, `bytes_per_address`: in flight, in MiB.
        public var bytesPerIdentity = 32
        public var bytesPerAddress = 32
        /// `rate_per_identity`, `rate_per_address`, `stranger_rate`: requests a second.
        public var ratePerIdentity = 20_000
        public var ratePerAddress = 50_000
        public var strangerRate = 200

        public init() {}
    }

    /// `company`: the O of the CA's subject where none is given.
    public var company = "Company Name"

    /// `domain`: the domain that names are under by default.
    public var domain = "example.com"

    /// `host`: the address that ports 5000 and 5001 are bound to.
    public var host = HostAddress.loopback

    /// `port`: the port of the front, 1 to 65534; the registrar has the next one.
    public var port = 5000

    /// `clients`.
    public var clients = ClientsMode.register

    /// `security`: as written; nil where it is not, which means plain on loopback and CURVE elsewhere.
    public var security: Security?

    /// `listeners`: as written; nil where `host` and `security` say it.
    public var writtenListeners: [Listener]?

    /// `advertise`: the addresses and names under which nodes reach the CA, where they are not those of its listeners.
    public var advertise: [String] = []

    /// `limits`.
    public var limits = Limits()

    /// `nodes`: who is known by address where `security: plain` is used off loopback.
    public var nodes: [FixedNode] = []

    /// `password_file`: the file that holds the password of `ca.key`, as written; nil where a credential of the service does.
    public var passwordFile: String?

    /// `seed`: a seed that still stands in the file, from where its reader has to take it out (`textWithoutSeed`).
    public var seedInFile: SecretText?

    /// `key_type`, with `key_length`: the kind of key that `init` makes; nil where the file does not say (ec-p256).
    public var keyType: AuthorityKeyType?

    /// `digest`: for signatures by the CA key, unless that is Ed25519.
    public var digest = SignatureDigest.sha256

    /// `crl_validity`, in seconds.
    public var crlValidity = 7 * 86_400

    /// `registration.profiles`: what may be asked for on the registrar's port.
    public var registrationProfiles = ["ra"]

    /// `registration.accept_seed_in_clear`.
    public var acceptSeedInClear = false

    /// `publication.base_url`: without a slash at its end; nil where certificates carry no URLs.
    public var publicationBaseURL: String?

    /// `revocation.release`.
    public var release = Release.hold

    /// `ocsp.validity`: seconds from thisUpdate to nextUpdate.
    public var ocspValidity = 12 * 3600

    /// `ocsp.max_age`: seconds that HTTP caches may keep an answer.
    public var ocspMaxAge = 300

    /// `ocsp.offline_grace`: seconds that a cached "good" is served while ca-core is away.
    public var ocspOfflineGrace = 60

    /// `ocsp.nonce`.
    public var ocspNonce = OCSPNonce.echo

    /// `ocsp.cache`: MiB that the OCSP bridge keeps answers in.
    public var ocspCacheMiB = 64

    /// `ocsp.connections`: how many connections the OCSP bridge has open at most.
    public var ocspConnections = 1024

    /// `ocsp.socket.owner`: the user who owns the bridge's socket; nil for whom it runs as.
    public var ocspSocketOwner: String?

    /// `ocsp.socket.group`: the group of the bridge's socket, such as that of nginx; nil for the bridge's own.
    public var ocspSocketGroup: String?

    /// `ocsp.socket.mode`: the permission bits of the bridge's socket.
    public var ocspSocketMode = 0o660

    /// `names.blocked`: host names that stand in no certificate.
    public var blockedNames = Configuration.defaultBlockedNames

    /// `store.reserve`: MiB set aside for revocations on a full disk.
    public var storeReserve = 32

    /// `key_storage`.
    public var keyStorage = KeyStorage.file

    /// `log.format`.
    public var logFormat = LogFormat.auto

    /// `log.level`.
    public var logLevel = LogLevel.info

    /// `localhost`, `local` and everything below `invalid`.
    public static let defaultBlockedNames = ["localhost", "local", "*.invalid"].compactMap { NamePattern($0) }

    /// The configuration of an absent file.
    public init() {}
}

extension Configuration {
    /// The port of the registrar.
    public var registrarPort: Int { self.port + 1 }

    /// How peers prove who they are.
    public var effectiveSecurity: Security { self.security ?? (self.host.isLoopback ? .plain : .curve) }

    /// Where the CA listens, and how peers prove there who they are.
    public var listeners: [Listener] { self.writtenListeners ?? [Listener(address: self.host, security: self.effectiveSecurity)] }

    /// The addresses and names that nodes are told: `advertise`, else those of the CURVE listeners that are no wildcards.
    public var advertised: [String] {
        guard self.advertise.isEmpty else { return self.advertise }
        return self.listeners.filter { $0.security == .curve && !$0.address.isWildcard }.map(\.address.description)
    }

    /// What the log says at each start, since it is allowed and dangerous.
    public var warnings: [String] {
        var warnings: [String] = []
        for listener in self.listeners where !listener.address.isLoopback && listener.security == .plain {
            warnings.append(
                "security: plain on \(listener.address): requests are not encrypted, and prove nothing but their address; known addresses are "
                    + self.nodes.map { "\($0.address) (\(printable($0.node)))" }.joined(separator: ", ")
            )
        }
        if self.clients == .all { warnings.append("clients: all: every local process is a node and can have certificates issued") }
        if let url = self.publicationBaseURL, url.hasPrefix("https:") {
            warnings.append(
                "publication.base_url is \(url): whoever checks a certificate would have to check that server's first; relying parties expect http"
            )
        }
        if self.acceptSeedInClear {
            warnings.append("registration.accept_seed_in_clear: the seed, from which the CA key is derived, may cross a network in clear")
        }
        return warnings
    }
}
