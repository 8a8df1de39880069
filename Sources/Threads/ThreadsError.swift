/// What can go wrong when a thread or a mailbox is made; equality is the code's.
public struct ThreadsError: Error, Equatable, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable {
        private enum Value: Hashable { case name, system }
        private let value: Value

        /// A thread's name is empty, longer than 15 bytes or holds a NUL.
        public static let invalidName = Code(value: .name)
        /// The kernel refused: out of threads, memory or descriptors.
        public static let system = Code(value: .system)
    }

    public let code: Code
    public let message: String
    /// The errno of the refused call; 0 where there was none.
    public let errorNumber: Int32

    init(_ code: Code, _ message: String, errorNumber: Int32 = 0) {
        self.code = code
        self.message = message
        self.errorNumber = errorNumber
    }

    public var description: String { message }

    public static func == (a: ThreadsError, b: ThreadsError) -> Bool { a.code == b.code }
}
