// What a supervisor tells a child about their relation, in one environment variable, and the user a child becomes.
import Glibc

/// The user, group and supplementary groups a program runs as.
public struct ProcessIdentity: Equatable, Sendable {
    public let uid: uid_t
    public let gid: gid_t
    /// Supplementary groups; empty means none at all.
    public let groups: [gid_t]

    public init(uid: uid_t, gid: gid_t, groups: [gid_t] = []) {
        self.uid = uid
        self.gid = gid
        self.groups = groups
    }
}

/// The content of `UPKI_SUPERVISED`: `PID` or `PID:UID:GID:GROUP,GROUP,…`, decimal numbers, the last field may be empty.
public struct SupervisionLink: Equatable, Sendable {
    public static let variable = "UPKI_SUPERVISED"

    /// The process that must still be the parent when the child has armed its death signal.
    public let supervisor: pid_t
    /// The user to become; nil keeps the present one.
    public let identity: ProcessIdentity?

    public init(supervisor: pid_t, identity: ProcessIdentity?) {
        self.supervisor = supervisor
        self.identity = identity
    }

    /// - Throws: `.malformedVariable`; nothing is guessed, because a wrong guess would run a program as the wrong user.
    public init(parsing text: String) throws(SupervisedError) {
        let fields = text.split(separator: ":", omittingEmptySubsequences: false)
        func refusal() -> SupervisedError {
            SupervisedError(.malformedVariable, "\(Self.variable) is not PID or PID:UID:GID:GROUPS: \(text)")
        }
        func number<N: FixedWidthInteger>(_ field: Substring, _: N.Type) throws(SupervisedError) -> N {
            guard !field.isEmpty, field.utf8.allSatisfy({ (48...57).contains($0) }), let value = N(field, radix: 10) else {
                throw refusal()
            }
            return value
        }
        guard fields.count == 1 || fields.count == 4 else { throw refusal() }
        let pid = try number(fields[0], pid_t.self)
        guard pid > 0 else { throw refusal() }
        supervisor = pid
        guard fields.count == 4 else {
            identity = nil
            return
        }
        var groups: [gid_t] = []
        if !fields[3].isEmpty {
            for field in fields[3].split(separator: ",", omittingEmptySubsequences: false) {
                groups.append(try number(field, gid_t.self))
            }
        }
        let uid = try number(fields[1], uid_t.self)
        let gid = try number(fields[2], gid_t.self)
        // (uid_t)-1 means "leave it as it is" to setresuid: never a user.
        guard uid != uid_t.max, gid != gid_t.max else { throw refusal() }
        identity = ProcessIdentity(uid: uid, gid: gid, groups: groups)
    }

    /// The variable's value.
    public var value: String {
        guard let identity else { return "\(supervisor)" }
        return "\(supervisor):\(identity.uid):\(identity.gid):\(identity.groups.map(String.init).joined(separator: ","))"
    }
}
