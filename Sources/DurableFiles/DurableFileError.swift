// The one error type of this module.

import Glibc

/// What went wrong with a file or directory that has to outlast a crash or stay private.
///
/// Two errors are equal when their codes are.
public struct DurableFileError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Code: Sendable, Equatable {
        /// The operating system refused a call; `errno` says which way.
        case system
        /// The file or directory does not exist.
        case notFound
        /// Group or others have rights on something private.
        case openToOthers
        /// The file or directory belongs to another user.
        case foreignOwner
        /// A symbolic link, a device or a directory stands where a regular file is required, or the reverse.
        case wrongKind
        /// The file is larger than the reader allows.
        case tooLarge
        /// Another process holds the lock.
        case locked
    }

    public let code: Code
    /// One line for a person, which says what to do where something can be done.
    public let message: String
    /// `errno` of the call that failed, 0 where none did.
    public let errno: Int32
    public let file: String
    public let line: Int

    public init(_ code: Code, _ message: String, errno: Int32 = 0, file: String = #fileID, line: Int = #line) {
        self.code = code
        self.message = message
        self.errno = errno
        self.file = file
        self.line = line
    }

    public static func == (left: Self, right: Self) -> Bool { left.code == right.code }

    public var description: String { message }

    /// The error for a system call that has just failed with `number`.
    static func system(_ action: String, _ number: Int32, file: String = #fileID, line: Int = #line) -> Self {
        let code: Code = number == ENOENT ? .notFound : .system
        return Self(code, "\(action): \(text(of: number))\(remedy(for: number))", errno: number, file: file, line: line)
    }

    private static func remedy(for number: Int32) -> String {
        switch number {
        case EROFS: "; make it writable (the kernel's log says why it is not)"
        case ENOSPC, EDQUOT: "; make room on that file system"
        default: ""
        }
    }

    private static func text(of number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
