// What a task is: a name, the role it needs, the sockets it is asked on, and what it does.

public import Authority
public import PKI
public import RevocationFormats
public import UPKIProtocol

/// One task of the protocol.
public struct Task: Sendable {
    public let name: String
    public let role: Role
    /// The sockets on which it may be asked; elsewhere it is unknown.
    public let channels: Set<Caller.Channel>
    /// Whether the CA's state may be another one afterwards: then a refusal is audited too.
    public let changes: Bool
    /// Whether a listed admin may ask it from afar: on the front, over CURVE and in no other way. For tasks of the operator's.
    public let isRemote: Bool
    let run: @Sendable (Call) throws -> Step

    init(
        _ name: String, role: Role, on channels: Set<Caller.Channel> = [.front, .admin], changes: Bool = false, isRemote: Bool = false,
        run: @escaping @Sendable (Call) throws -> Step
    ) {
        self.name = name
        self.role = role
        self.channels = isRemote ? channels.union([.front]) : channels
        self.changes = changes
        self.isRemote = isRemote
        self.run = run
    }
}

/// A request to a task, with who asks.
public struct Call: Sendable {
    public let context: RequestContext
    public let parameters: Parameters
    /// The caller as the state saw it when the request was taken up; changes look again when they are committed.
    public let actor: Actor
    public let services: Services

    var authority: Authority { self.services.authority }
    var task: String { self.context.task }

    /// Whether a listed admin asks over the network what the operator asks on the CA's host.
    var isFromAfar: Bool { self.context.caller.channel == .front }

    /// A change that the writer will commit for this call; a vital one also on a full disk, and whatever the clock says. What the operator
    /// may do on the CA's host needs an admin when it is asked from afar, still at the moment of the commit.
    func change(needs role: Role, isVital: Bool = false, _ run: @escaping @Sendable (inout Commit) throws -> JSON) -> Step {
        .change(Change(self.context, needs: role == .local && self.isFromAfar ? .admin : role, isVital: isVital, run: run))
    }
}

/// How a task goes on after its worker has done what it could.
public enum Step: Sendable {
    /// Done: this is the data of the answer.
    case answer(JSON)
    /// Done: the data as JSON text already.
    case encoded([UInt8])
    /// The writer commits it; its value is the data of the answer.
    case change(Change<JSON>)
    /// Another thread goes on: it may take longer than a worker may be held up.
    case elsewhere(Place, @Sendable () throws -> Step)

    /// The threads that have work of their own.
    public enum Place: Sendable, Hashable {
        /// RSA key generation.
        case keyMaker
        /// scrypt of what may be the seed: guesses hold up neither keys nor anything else.
        case seedChecker
        /// Building CRLs.
        case publisher
        /// Lists whose length a caller can choose: they would hold up what others ask of the workers.
        case lister
    }
}

/// What tasks use besides the authority; given by the program.
public struct Services: Sendable {
    public var authority: Authority
    public var keys: any SubjectKeys
    public var seeds: any SeedChecks
    public var publisher: any ListPublisher
    public var operations: any Operations
    public var relays: any RelayKeeping
    /// Reads a profile from the parameters of a task, with the rules of the profile files.
    public var readProfile: @Sendable (_ name: String, _ profile: JSON) throws -> CertificateProfile
    /// A profile as its file says it.
    public var describeProfile: @Sendable (CertificateProfile) -> JSON

    public init(
        authority: Authority, keys: any SubjectKeys, seeds: any SeedChecks, publisher: any ListPublisher, operations: any Operations,
        relays: any RelayKeeping,
        readProfile: @escaping @Sendable (_ name: String, _ profile: JSON) throws -> CertificateProfile,
        describeProfile: @escaping @Sendable (CertificateProfile) -> JSON
    ) {
        self.authority = authority
        self.keys = keys
        self.seeds = seeds
        self.publisher = publisher
        self.operations = operations
        self.relays = relays
        self.readProfile = readProfile
        self.describeProfile = describeProfile
    }
}

/// Makes keys for subjects.
public protocol SubjectKeys: Sendable {
    /// A key at once: made now where that takes microseconds, from the pool where it takes seconds; nil where the pool is empty.
    func ready(_ type: SubjectKeyType) throws -> SubjectKeyPair?
    /// A key, however long it takes.
    func make(_ type: SubjectKeyType) throws -> SubjectKeyPair
}

/// Checks seeds, and tokens' derivation from them.
public protocol SeedChecks: Sendable {
    /// Whether this text has the form of a token, which costs no scrypt.
    func isToken(_ text: String) -> Bool
    /// Refuses at once where this address has guessed wrongly too often.
    ///
    /// - Throws: `Refusal` that names the wait.
    func admit(_ caller: Caller) throws
    /// Whether the seed gives the standing token; takes a third of a second. Counts wrong guesses by address.
    func verify(seed: String, caller: Caller) throws -> Bool
    /// The SHA-256 of the standing token with number `number`: derived from `seed`, or fresh where the CA was imported.
    ///
    /// - Returns: the token's text too, which is shown once.
    func standingToken(number: Int, seed: String?) throws -> String
    /// A fresh one-time token.
    func oneTimeToken() throws -> String
}

/// Publishes CRLs.
public protocol ListPublisher: Sendable {
    /// Builds and publishes a CRL now; for the publisher's own thread.
    func publish() throws
    /// The DER of the published CRL; nil where there is none yet.
    func published() throws -> [UInt8]?
    /// The same as the JSON text of its base64, at most 16 MiB; nil where there is none yet.
    ///
    /// - Throws: `Refusal` where it is larger: the file is the way then.
    func publishedAnswer() throws -> [UInt8]?
    /// What the published CRL says of itself; nil where there is none yet. Counting its entries is done once for each file.
    func publishedFacts() throws -> PublishedListFacts?
    /// The published CRL as a file that stays as it is, whatever is published meanwhile; nil where there is none yet.
    var publishedFile: PublishedListFile? { get }
    /// Takes a piece of a CRL from elsewhere, or goes on with taking its revocations over; for the publisher's own thread.
    func takeOver(_ piece: ListPiece, for context: RequestContext) throws -> JSON
}

/// One published CRL.
public struct PublishedListFile: Sendable {
    public let number: CRLNumber
    public let thisUpdate: UnixTime
    public let nextUpdate: UnixTime
    /// The length of its DER.
    public let bytes: Int
    /// SHA-256 of its DER.
    public let sha256: [UInt8]
    /// Reads up to `count` bytes of its DER from `offset` on; fewer at its end.
    public let read: @Sendable (_ offset: Int, _ count: Int) throws -> [UInt8]

    public init(
        number: CRLNumber, thisUpdate: UnixTime, nextUpdate: UnixTime, bytes: Int, sha256: [UInt8],
        read: @escaping @Sendable (_ offset: Int, _ count: Int) throws -> [UInt8]
    ) {
        self.number = number
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.bytes = bytes
        self.sha256 = sha256
        self.read = read
    }
}

/// What the operator asks of the running program.
public protocol Operations: Sendable {
    /// Facts about the process for `ca-ctl status`.
    func status() -> JSON
    /// Reads configuration and profiles again.
    ///
    /// - Throws: `Refusal` with file and line of what is wrong; nothing is changed then.
    func reload() throws -> JSON
    /// Everything that is counted, as Prometheus text.
    func metrics() throws -> String
    /// The names of the doctor's checks that are made here, in their order.
    var doctorChecks: [String] { get }
    /// Makes one of them; for the publisher's own thread, since some take long.
    ///
    /// - Returns: its findings.
    /// - Throws: `Refusal` for a name that is none.
    func doctor(check: String) throws -> JSON
}
